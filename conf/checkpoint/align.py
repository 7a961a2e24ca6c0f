"""The disks of a checkpoint: one for each disk of the domain, and the names of their bitmaps.

Owns: which disk takes part. Pure.
Source: libvirt 9.0, virDomainCheckpointAlignDisks, qemuCheckpointPrepare.
"""

from __future__ import annotations

from conf.checkpoint.model import Checkpoint, CheckpointDisk, CheckpointType
from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import layers
from conf.errors import ConfError
from conf.snapshot.align import find_disk


def align_disks(checkpoint: Checkpoint, domain: Domain) -> None:
    """Give a checkpoint a <disk> for each disk of the domain, in its order.

    Without any, all disks that can be written take part; otherwise those that are named.

    Args:
        checkpoint: changed in place.
        domain: whose disks they are.

    Raises:
        ConfError: "config_unsupported": a disk is not there, given twice, empty or read-only.
    """
    disks = domain.devices.disks
    if len(checkpoint.disks) > len(disks):
        raise _unsupported("too many disk checkpoint requests for domain")
    if not disks:
        raise _unsupported("domain must have at least one disk to perform checkpoints")
    default = CheckpointType.NO if checkpoint.disks else CheckpointType.BITMAP
    given: dict[str, CheckpointDisk] = {}
    for item in checkpoint.disks:
        disk = find_disk(domain, item.name)
        if disk is None:
            raise _unsupported(f"no disk named '{item.name}'")
        if disk.target.dev in given:
            raise _unsupported(f"disk '{item.name}' specified twice")
        if item.has_bitmap and not _is_writable(disk):
            raise _unsupported(f"disk '{item.name}' is empty or readonly")
        item.name = disk.target.dev
        given[item.name] = item
    checkpoint.disks = [given.get(disk.target.dev) or _other(disk, default) for disk in disks]
    name_bitmaps(checkpoint)


def _other(disk: Disk, default: CheckpointType) -> CheckpointDisk:
    chosen = default if _is_writable(disk) else CheckpointType.NO
    return CheckpointDisk(name=disk.target.dev, checkpoint=chosen)


def _is_writable(disk: Disk) -> bool:
    return bool(layers(disk)) and not disk.readonly


def name_bitmaps(checkpoint: Checkpoint) -> None:
    """Give bitmaps without a name that of the checkpoint."""
    for item in checkpoint.disks:
        if item.has_bitmap and item.bitmap is None:
            item.bitmap = checkpoint.name


def check_new(checkpoint: Checkpoint, domain: Domain) -> None:
    """Refuse disks whose writes cannot be noted.

    Args:
        checkpoint: a new one, aligned.
        domain: that runs.

    Raises:
        ConfError: "config_unsupported", "operation_unsupported".
    """
    by_target = {disk.target.dev: disk for disk in domain.devices.disks}
    for item in checkpoint.disks:
        if not item.has_bitmap:
            continue
        disk = by_target[item.name]
        if item.bitmap != checkpoint.name:
            raise _unsupported(
                f"bitmap for disk '{item.name}' must match checkpoint name '{checkpoint.name}'"
            )
        if disk.type == "vhostuser" or disk.target.bus == "sd":
            detail = f"block jobs are not supported on disk '{item.name}'"
            raise ConfError("operation_unsupported", detail)
        form = layers(disk)[0].format
        if form != "qcow2":
            raise _unsupported(
                f"checkpoint for disk {item.name} unsupported for storage type {form}"
            )


def _unsupported(detail: str) -> ConfError:
    return ConfError("config_unsupported", detail)
