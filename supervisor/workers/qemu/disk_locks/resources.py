"""What a guest locks: a file for each image that it writes to, and its leases. Pure.

Owns: which files those are, shared or not. May not touch: the files, QEMU.
Source: libvirt 9.0, the lock manager "lockd": the images themselves, or files that are named by the
hash of an image's path, in a folder that all hosts share.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import layers
from conf.domain.devices.lease import Lease
from conf.errors import ConfError
from conf.lockd_settings import LockdConfig

LOCKED_TYPES: Final = ("file", "block", "volume")  # what is on no other server


@dataclass(frozen=True, slots=True)
class LockResource:
    """One file that is locked."""

    path: str
    name: str  # in messages, as libvirt's
    shared: bool = False
    folder: str = ""  # made where it is missing
    is_created: bool = False  # the file, too

    @property
    def fd_name(self) -> str:
        """What QEMU knows the descriptor that has the lock as."""
        return f"lock-{hashlib.sha256(self.path.encode()).hexdigest()[:40]}"


def disk_resources(disk: Disk, config: LockdConfig) -> list[LockResource]:
    """List what is locked for a disk: its top image, unless the guest only reads it."""
    if not config.auto_disk_leases or disk.readonly:
        return []
    chain = layers(disk)
    path = chain[0].path if chain and chain[0].type in LOCKED_TYPES else None
    return [image_resource(path, config, shared=disk.shareable)] if path else []


def image_resource(path: str, config: LockdConfig, *, shared: bool = False) -> LockResource:
    """Return what is locked for an image."""
    folder = config.file_lockspace_dir
    if not folder:
        return LockResource(path, path, shared=shared)
    name = hashlib.sha256(path.encode()).hexdigest()
    return LockResource(os.path.join(folder, name), name, shared, folder, is_created=True)


def lease_resource(lease: Lease) -> LockResource:
    """Return what is locked for a <lease>.

    Raises:
        ConfError: "internal": it has an offset, or no path.
    """
    if lease.target_offset:
        raise ConfError("internal", "Offset must be zero for this lock manager")
    if not lease.target_path:
        raise ConfError("internal", "Missing path or lockspace for lease resource")
    folder = lease.target_path
    return LockResource(os.path.join(folder, lease.key), lease.key, folder=folder)


def domain_resources(domain: Domain, config: LockdConfig) -> list[LockResource]:
    """List what a guest locks.

    Raises:
        ConfError: "config_unsupported": it needs a lease; "internal".
    """
    disks = domain.devices.disks
    leases = [lease_resource(lease) for lease in domain.devices.leases]
    if config.requires_leases and not leases and writes_alone(disks):
        detail = "Read/write, exclusive access, disks were present, but no leases specified"
        raise ConfError("config_unsupported", detail)
    return [*leases, *(item for disk in disks for item in disk_resources(disk, config))]


def writes_alone(disks: Iterable[Disk]) -> bool:
    """Return whether a guest writes to a disk that it does not share."""
    return any(
        not disk.readonly and not disk.shareable and layers(disk) and layers(disk)[0].path
        for disk in disks
    )
