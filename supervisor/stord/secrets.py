"""Secrets of pools and volumes: passphrases and CHAP passwords, which hostd stores.

Owns: which secret a volume needs, and requesting its value from hostd. Values are never logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from conf.storage.credentials import VolumeEncryption
from ipc import Node
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.hostd import GetSecret
from supervisor.stord.volume_info import VolumeInfo


@dataclass(frozen=True, slots=True)
class SecretName:
    """Reference to a secret: by its UUID, or by its usage."""

    kind: str  # usage type: "volume", "iscsi", "ceph", "tls"
    uuid: str = ""
    usage: str = ""


#: Returns a secret's value. Raises `VirError`: NO_SECRET.
FindSecret = Callable[[SecretName], Awaitable[bytes]]


class SecretsClient:
    """Requests secret values from hostd."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def find(self, secret: SecretName) -> bytes:
        """Return a secret's value.

        Raises:
            VirError: NO_SECRET.
            BusError: hostd does not answer.
        """
        request = GetSecret(usage_type=secret.kind, uuid=secret.uuid, usage=secret.usage)
        answer = await self._node.link("hostd").call(request)
        return answer.value


def encryption_secret(encryption: VolumeEncryption) -> SecretName:
    """Return the passphrase that a volume's <encryption> names.

    Raises:
        VirError: INVALID_ARG: it names none.
    """
    for secret in encryption.secrets:
        return SecretName("volume", uuid=secret.uuid or "", usage=secret.usage or "")
    detail = "<encryption> names no <secret>: define one and name it"
    raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)


def volume_secret(volume: VolumeInfo) -> SecretName:
    """Return the passphrase of an existing volume: that of its XML, or the one for its path."""
    if volume.secret_uuid:
        return SecretName("volume", uuid=volume.secret_uuid)
    return SecretName("volume", usage=volume.secret_usage or volume.path)
