"""What a new snapshot can be: checks of its disks and its memory. Pure but for looking at files.

Owns: these checks, in libvirt's order. May touch: whether files exist.
Source: libvirt 9.0, qemuSnapshotPrepare and its callees.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import layers
from conf.errors import ConfError
from conf.snapshot.model import Snapshot, SnapshotDisk, SnapshotLocation, SnapshotState
from rpc.errors import ErrorCode, ErrorDomain, VirError

OVERLAY_FORMATS = ("qcow2", "qed")


@dataclass(slots=True)
class Found:
    """What the disks are to do."""

    internal: bool = False
    external: int = 0
    left_out: bool = False  # a disk that is written to takes no part


def check_snapshot(snapshot: Snapshot, domain: Domain, *, active: bool, reuse: bool) -> int:
    """Check a snapshot whose disks are aligned with the domain's.

    Args:
        snapshot: changed in place: overlays get their format.
        domain: whose disks they are.
        active: the guest runs.
        reuse: the overlays are there.

    Returns:
        How many overlays there are to be.

    Raises:
        ConfError, VirError: the snapshot cannot be made.
    """
    found = Found()
    for item, disk in zip(snapshot.disks, domain.devices.disks, strict=True):
        _check_disk(snapshot, item, disk, found, active=active, reuse=reuse)
    memory = snapshot.memory_location
    if not found.internal and not found.external and memory == SnapshotLocation.NO:
        raise ConfError("config_unsupported", "nothing selected for snapshot")
    if (memory == SnapshotLocation.INTERNAL and not found.internal) or (
        found.internal and found.left_out
    ):
        detail = "internal and full system snapshots require all disks to be selected for snapshot"
        raise ConfError("config_unsupported", detail)
    if snapshot.kind is SnapshotState.DISK_SNAPSHOT and not found.external:
        detail = "disk-only snapshots require at least one disk to be selected for snapshot"
        raise ConfError("config_unsupported", detail)
    if (
        (found.internal and found.external)
        or (memory == SnapshotLocation.INTERNAL and found.external)
        or (memory == SnapshotLocation.EXTERNAL and found.internal)
    ):
        detail = "mixing internal and external targets for a snapshot is not yet supported"
        raise ConfError("config_unsupported", detail)
    loader = domain.os.loader
    if found.internal and loader is not None and loader.type == "pflash":
        detail = "internal snapshots of a VM with pflash based firmware are not supported"
        raise ConfError("operation_unsupported", detail)
    return found.external


def refuse_mirrors(snapshot: Snapshot, running: Domain) -> None:
    """Refuse disks of a running guest that are copied or committed.

    Raises:
        VirError: BLOCK_COPY_ACTIVE.
    """
    copied = {disk.target.dev for disk in running.devices.disks if disk.mirror is not None}
    for item in snapshot.disks:
        if item.name in copied and item.snapshot != SnapshotLocation.NO:
            detail = f"disk '{item.name}' already in active block job"
            raise VirError(ErrorCode.BLOCK_COPY_ACTIVE, detail, ErrorDomain.QEMU)


def _check_disk(
    snapshot: Snapshot,
    item: SnapshotDisk,
    disk: Disk,
    found: Found,
    *,
    active: bool,
    reuse: bool,
) -> None:
    match item.snapshot:
        case SnapshotLocation.INTERNAL:
            found.internal = True
            _check_internal(snapshot, item, disk, active=active)
        case SnapshotLocation.EXTERNAL:
            found.external += 1
            _check_external(item, disk, active=active, reuse=reuse)
        case SnapshotLocation.MANUAL:
            found.external += 1  # whoever asks for the snapshot makes it, while the guest is paused
        case _:
            found.left_out |= bool(layers(disk)) and not disk.readonly


def _check_internal(snapshot: Snapshot, item: SnapshotDisk, disk: Disk, *, active: bool) -> None:
    if snapshot.kind is SnapshotState.DISK_SNAPSHOT and active:
        detail = (
            "active qemu domains require external disk snapshots; disk "
            f"{item.name} requested internal"
        )
        raise ConfError("config_unsupported", detail)
    if not active and disk.type not in ("file", "block"):
        what = f"'{disk.type}' disks"
        if disk.type == "network" and disk.source is not None:
            what = f"'network' disks using '{disk.source.protocol}' protocol"
        raise ConfError("internal", f"internal inactive snapshots are not supported on {what}")
    image_format = disk.driver.type if disk.driver is not None else None
    if image_format is not None and image_format != "qcow2" and layers(disk):
        detail = (
            f"internal snapshot for disk {item.name} unsupported for storage type {image_format}"
        )
        raise ConfError("config_unsupported", detail)


def _check_external(item: SnapshotDisk, disk: Disk, *, active: bool, reuse: bool) -> None:
    item.format = item.format or "qcow2"
    if item.format not in OVERLAY_FORMATS:
        detail = f"external snapshot format for disk {item.name} is unsupported: {item.format}"
        raise ConfError("config_unsupported", detail)
    cache = item.driver.metadata_cache if item.driver is not None else None
    if cache is not None and item.format != "qcow2":
        detail = "metadata cache max size control is supported only with qcow2 images"
        raise ConfError("config_unsupported", detail)
    encrypted = item.source is not None and item.source.encryption is not None
    if not active and encrypted and not reuse:
        detail = (
            f"overlay for disk {item.name} cannot be encrypted while the domain is off; make it "
            "with qemu-img and use --reuse-external, or take the snapshot of the running guest"
        )
        raise ConfError("config_unsupported", detail)
    if not active:
        for type_ in (disk.type, item.type or "file"):
            _check_inactive_type(type_, disk)
    if disk.shareable and not disk.readonly:
        detail = (
            f"shared access for disk '{disk.target.dev}' requires use of supported storage format"
        )
        raise ConfError("config_unsupported", detail)
    if item.type in ("file", "block"):
        _check_file(item, reuse=reuse)


def _check_inactive_type(type_: str, disk: Disk) -> None:
    if type_ in ("file", "block"):
        return
    what = f"'{type_}' disks"
    if type_ == "network" and disk.source is not None and disk.type == "network":
        what = f"'network' disks using '{disk.source.protocol}' protocol"
    raise ConfError("internal", f"external inactive snapshots are not supported on {what}")


def _check_file(item: SnapshotDisk, *, reuse: bool) -> None:
    """Check what is at an overlay's path.

    Raises:
        ConfError: another image. VirError: SYSTEM_ERROR.
    """
    try:
        status = os.stat(item.path)
    except FileNotFoundError as error:
        if reuse:
            detail = f"missing existing file for disk {item.name}: {item.path}: {error.strerror}"
            raise _system_error(detail, error) from error
        return
    except OSError as error:
        detail = f"unable to stat for disk {item.name}: {item.path}: {error.strerror}"
        raise _system_error(detail, error) from error
    if not stat.S_ISBLK(status.st_mode) and status.st_size and not reuse:
        detail = (
            f"external snapshot file for disk {item.name} already exists and is not a block "
            f"device: {item.path}"
        )
        raise ConfError("config_unsupported", detail)


def _system_error(detail: str, error: OSError) -> VirError:
    code = ErrorCode.SYSTEM_ERROR
    return VirError(code, detail, ErrorDomain.QEMU, int1=error.errno or -1)
