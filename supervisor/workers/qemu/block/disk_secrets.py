"""Secrets of a domain's disks: passphrases and credentials, from hostd.

Owns: which secrets a domain refers to. May touch: hostd over the bus.
May not touch: the log; a value is dropped once the command line has it encrypted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.source import SecretReference, Source
from ipc import Link
from supervisor.messages.hostd import GetSecret


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret in the XML, and the usage type that it must have."""

    usage_type: str
    uuid: str | None
    usage: str | None

    @property
    def key(self) -> str:
        """Its key in `LaunchInputs.secrets`."""
        return self.uuid if self.uuid is not None else f"{self.usage_type} {self.usage}"


def domain_sources(domain: Domain) -> Iterator[Source]:
    """List the sources of all disks, and of host devices over iSCSI."""
    for disk in domain.devices.disks:
        yield from disk_sources(disk)
    for hostdev in domain.devices.hostdevs:
        if hostdev.source.storage is not None:
            yield hostdev.source.storage


def disk_sources(disk: Disk) -> Iterator[Source]:
    """List the sources of a disk's chain."""
    for source, _, _ in disk.chain():
        yield source


def secret_refs(sources: Iterable[Source]) -> list[SecretRef]:
    """List the secrets that sources refer to, each once."""
    refs: dict[SecretRef, None] = {}
    for source in sources:
        if source.auth is not None and source.auth.secret is not None:
            refs[_secret_ref(source.auth.secret.type or "", source.auth.secret)] = None
        if source.encryption is not None:
            for secret in source.encryption.secrets:
                refs[_secret_ref("volume", secret)] = None
    return list(refs)


def _secret_ref(usage_type: str, secret: SecretReference) -> SecretRef:
    return SecretRef(usage_type, secret.uuid, secret.usage)


async def fetch(hostd: Link, sources: Iterable[Source]) -> dict[str, bytes]:
    """Get the values of the secrets that sources refer to.

    Raises:
        VirError: NO_SECRET: it does not exist or has no value; INVALID_ARG: another usage type.
    """
    values: dict[str, bytes] = {}
    for secret in secret_refs(sources):
        request = GetSecret(
            usage_type=secret.usage_type, uuid=secret.uuid or "", usage=secret.usage or ""
        )
        values[secret.key] = (await hostd.call(request)).value
    return values
