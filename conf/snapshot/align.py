"""The disks of a snapshot: one for each disk of the domain, with defaults and overlays' names.

Owns: which disk takes part how, and the names that overlays get. Pure: whether a disk's image is a
regular file is asked of the caller.
Source: libvirt 9.0, virDomainSnapshotAlignDisks.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable
from typing import Final

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import layers, source_name
from conf.domain.devices.source import Source
from conf.errors import ConfError
from conf.snapshot.model import Snapshot, SnapshotDisk, SnapshotLocation

NO: Final = SnapshotLocation.NO
IsRegular = Callable[[str], bool]


def find_disk(domain: Domain, name: str) -> Disk | None:
    """Find a disk by its target's name, or by the path of its image."""
    for disk in domain.devices.disks:
        if disk.target.dev == name:
            return disk
    for disk in domain.devices.disks:
        if name.startswith("/") and disk.source is not None and source_name(disk.source) == name:
            return disk
    return None


def align_disks(
    snapshot: Snapshot,
    domain: Domain,
    default: SnapshotLocation,
    *,
    uniform: bool,
    is_regular: IsRegular = os.path.isfile,
) -> None:
    """Give a snapshot a <disk> for each disk of the domain, in its order.

    Args:
        snapshot: changed in place.
        domain: whose disks they are.
        default: the location of disks that neither the snapshot nor the domain says one for.
        uniform: an internal snapshot takes all disks: QEMU cannot leave one out.
        is_regular: returns whether a path is that of a regular file.

    Raises:
        ConfError: "config_unsupported": a disk is not there, given twice, or cannot be so.
    """
    disks = domain.devices.disks
    if len(snapshot.disks) > len(disks):
        detail = "too many disk snapshot requests for domain"
        raise ConfError("config_unsupported", detail)
    if not disks:
        return
    require_match = uniform and default is SnapshotLocation.INTERNAL
    given: dict[str, SnapshotDisk] = {}
    for item in snapshot.disks:
        disk = find_disk(domain, item.name)
        if disk is None:
            raise ConfError("config_unsupported", f"no disk named '{item.name}'")
        if disk.target.dev in given:
            raise ConfError("config_unsupported", f"disk '{item.name}' specified twice")
        given[disk.target.dev] = item
        _align_given(item, disk, default, require_match=require_match)
    snapshot.disks = [given.get(disk.target.dev) or _default_disk(disk, default) for disk in disks]
    _name_overlays(snapshot, disks, is_regular)


def _align_given(
    item: SnapshotDisk, disk: Disk, default: SnapshotLocation, *, require_match: bool
) -> None:
    excluded = disk.snapshot == NO
    if item.snapshot is None:
        follows = disk.snapshot is not None and (not require_match or excluded)
        item.snapshot = disk.snapshot if follows else default
    elif require_match and item.snapshot != default and not (item.snapshot == NO and excluded):
        detail = f"disk '{item.name}' must use snapshot mode '{default}'"
        raise ConfError("config_unsupported", detail)
    if item.path and not item.is_external:
        detail = f"file '{item.path}' for disk '{item.name}' requires use of external snapshot mode"
        raise ConfError("config_unsupported", detail)
    item.name = disk.target.dev


def _default_disk(disk: Disk, default: SnapshotLocation) -> SnapshotDisk:
    empty = not layers(disk)
    chosen = NO if empty else disk.snapshot or default
    return SnapshotDisk(name=disk.target.dev, snapshot=chosen, type="file")


def _name_overlays(snapshot: Snapshot, disks: list[Disk], is_regular: IsRegular) -> None:
    """Name the overlays that have no name: the image's, with the snapshot's for its suffix."""
    taken: dict[str, str] = {}
    for item, disk in zip(snapshot.disks, disks, strict=True):
        if item.is_external and not item.path:
            item.source = Source(file=overlay_path(snapshot.name, item, disk, is_regular))
            if (other := taken.get(item.path)) is not None:
                detail = (
                    f"cannot generate external snapshot name for disk '{item.name}': "
                    f"collision with disk '{other}'"
                )
                raise ConfError("config_unsupported", detail)
        if item.path:
            taken.setdefault(item.path, item.name)


def overlay_path(
    name: str, item: SnapshotDisk, disk: Disk, is_regular: IsRegular = os.path.isfile
) -> str:
    """Return the path of a new overlay of a disk: the image's, with `name` for its suffix.

    Raises:
        ConfError: "config_unsupported": the image is no regular file.
    """
    what = f"cannot generate external snapshot name for disk '{item.name}'"
    if (item.type or "file") != "file":
        raise ConfError("config_unsupported", f"{what} on a '{item.type}' device")
    origin = source_name(disk.source) if disk.source is not None else ""
    if not origin:
        raise ConfError("config_unsupported", f"{what} without source")
    if not is_regular(origin):
        detail = (
            f"source for disk '{item.name}' is not a regular file; refusing to generate external "
            "snapshot name"
        )
        raise ConfError("config_unsupported", detail)
    folder, file = os.path.split(origin)
    stem = file[: file.rindex(".")] if "." in file else file
    return f"{folder}/{stem}.{name}"
