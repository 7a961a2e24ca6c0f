"""Secrets as -object secret, encrypted with the master key: the command line is world-readable.

Owns: which secret a node needs, and its object.
May touch: values only; the worker fetches the secrets and seals them.
"""

from __future__ import annotations

import base64

from conf.errors import ConfError
from supervisor.workers.qemu.argv.launch_inputs import MASTER_KEY, Context, Option, obj


def secret_object(context: Context, name: str, value: bytes) -> Option:
    """Build a secret object whose value is encrypted with the master key."""
    sealed = context.inputs.encrypt(value)
    return obj(
        {
            "qom-type": "secret",
            "id": name,
            "data": sealed.data,
            "keyid": MASTER_KEY,
            "iv": sealed.iv,
            "format": "base64",
        }
    )


def find_secret(context: Context, kind: str, *, uuid: str | None, usage: str | None) -> bytes:
    """Look up the value of a secret that the domain refers to.

    Raises:
        ConfError: "no_secret": the worker was given none.
    """
    key = uuid if uuid is not None else f"{kind} {usage}"
    value = context.inputs.secrets.get(key)
    if value is None:
        named = f"uuid '{uuid}'" if uuid is not None else f"usage '{usage}'"
        raise ConfError("no_secret", f"no secret with matching {named}")
    return value


def ceph_key(value: bytes) -> bytes:
    """Encode RBD's key in base64, as QEMU expects it."""
    return base64.b64encode(value)
