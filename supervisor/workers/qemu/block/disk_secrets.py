"""The secrets that open a guest's disks: asking hostd for them.

Owns: which secrets a domain needs. May touch: hostd over the bus.
May not touch: logs with values. A value is forgotten once the launch has sealed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.source import Secret, Source
from ipc import Link
from supervisor.messages.secrets import GetSecret


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret that a document names, and what it is wanted for."""

    usage_type: str
    uuid: str | None
    usage: str | None

    @property
    def key(self) -> str:
        """How the plan looks it up (`LaunchInputs.secrets`)."""
        return self.uuid if self.uuid is not None else f"{self.usage_type} {self.usage}"


def domain_sources(domain: Domain) -> Iterator[Source]:
    """Everything that a guest's disks, and host devices over the network, consist of."""
    for disk in domain.devices.disks:
        yield from disk_sources(disk)
    for hostdev in domain.devices.hostdevs:
        if hostdev.source.storage is not None:
            yield hostdev.source.storage


def disk_sources(disk: Disk) -> Iterator[Source]:
    """The images of a disk."""
    for source, _, _ in disk.chain():
        yield source


def secret_refs(sources: Iterable[Source]) -> list[SecretRef]:
    """The secrets that these need, each once."""
    refs: dict[SecretRef, None] = {}
    for source in sources:
        if source.auth is not None and source.auth.secret is not None:
            refs[_secret_ref(source.auth.secret.type or "", source.auth.secret)] = None
        if source.encryption is not None:
            for secret in source.encryption.secrets:
                refs[_secret_ref("volume", secret)] = None
    return list(refs)


def _secret_ref(usage_type: str, secret: Secret) -> SecretRef:
    return SecretRef(usage_type, secret.uuid, secret.usage)


async def fetch(hostd: Link, sources: Iterable[Source]) -> dict[str, bytes]:
    """Get their values.

    Raises:
        VirError: NO_SECRET when one is not there or has no value; INVALID_ARG when it is for
            something else.
    """
    values: dict[str, bytes] = {}
    for secret in secret_refs(sources):
        request = GetSecret(
            usage_type=secret.usage_type, uuid=secret.uuid or "", usage=secret.usage or ""
        )
        values[secret.key] = (await hostd.call(request)).value
    return values
