"""Finds disks and images of a running guest, and records what became of a disk's chain.

Owns: the checks that every operation on images has in common; the list of changes that the
definition is to follow. May touch: the live model, the status file. May not touch: QEMU.
Source: libvirt 9.0, qemuDomainDiskByName, qemuDomainDiskBlockJobIsActive,
qemuDomainDiskBlockJobIsSupported.
"""

from __future__ import annotations

from collections.abc import Sequence

from conf.domain import Domain
from conf.domain.device_xml import format_device
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import (
    Layer,
    layers,
    set_layers,
    source_name,
    take_chain,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.block_job import BlockJobRecord
from supervisor.objects.disk_change import DiskChange
from supervisor.objects.domain_status_xml import Status
from supervisor.workers.qemu.guest import Guest


def find_disk(domain: Domain, name: str) -> Disk:
    """Find a disk by its target's name or by the path of its image.

    Raises:
        VirError: INVALID_ARG.
    """
    for disk in domain.devices.disks:
        if name and disk.target.dev == name:
            return disk
    for disk in domain.devices.disks:
        if name.startswith("/") and disk.source is not None and source_name(disk.source) == name:
            return disk
    detail = f"disk '{name}' not found in domain"
    raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)


def job_of(status: Status, target: str) -> BlockJobRecord | None:
    """Return the block job of a disk."""
    return next((job for job in status.block_jobs if job.target == target), None)


def check_no_job(status: Status, disk: Disk) -> None:
    """Refuse a disk that has a block job.

    Raises:
        VirError: BLOCK_COPY_ACTIVE: it is copied or committed; OPERATION_UNSUPPORTED.
    """
    detail = f"disk '{disk.target.dev}' already in active block job"
    if disk.mirror is not None:
        raise VirError(ErrorCode.BLOCK_COPY_ACTIVE, detail, ErrorDomain.QEMU)
    if job_of(status, disk.target.dev) is not None:
        raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.QEMU)


def check_supports_jobs(disk: Disk) -> None:
    """Refuse a disk whose images QEMU's block jobs do not see.

    Raises:
        VirError: OPERATION_UNSUPPORTED.
    """
    if disk.type == "vhostuser" or disk.target.bus == "sd":
        detail = f"block jobs are not supported on disk '{disk.target.dev}'"
        raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.QEMU)


def change_chain(
    guest: Guest, disk: Disk, chain: Sequence[Layer], *, terminated: bool, config: bool = True
) -> None:
    """Give a disk of the live model another chain; the caller writes the status file.

    Args:
        guest: the guest.
        disk: one of its disks.
        chain: from the top down.
        terminated: nothing is below the last image.
        config: the definition is to follow.
    """
    before = [layer.location for layer in layers(disk)]
    set_layers(disk, chain, terminated=terminated)
    if config:
        _record(guest, disk, before)


def put_overlay(guest: Guest, disk: Disk, after: Disk) -> None:
    """Give a disk of the live model the chain of its copy, which has one image more.

    The definition is to follow; the caller writes the status file.
    """
    before = [layer.location for layer in layers(disk)]
    take_chain(disk, after)
    _record(guest, disk, before)


def _record(guest: Guest, disk: Disk, before: list[str]) -> None:
    guest.status.last_disk_change += 1
    change = DiskChange(
        number=guest.status.last_disk_change,
        target=disk.target.dev,
        before=before,
        disk=format_device(disk),
    )
    guest.status.disk_changes = [*guest.status.disk_changes, change]
