"""Disk sources before a start or hotplug: volumes of pools, and images that may be missing.

Owns: the path behind <source pool= volume=>, and <source startupPolicy=>.
May touch: stord over the bus; whether image files exist.
Source: libvirt 9.0 formatdomain, "Hard drives, floppy disks, CDROMs": volume, startupPolicy.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.errors import ConfError
from ipc import Link
from supervisor.messages.stord import ResolveVolume

log = logging.getLogger(__name__)


async def resolve_volumes(stord: Link, disks: Iterable[Disk]) -> None:
    """Look up the file or block device behind each source of type='volume'.

    The live XML keeps pool= and volume=; only the command line has the path.

    Raises:
        VirError: NO_STORAGE_POOL, NO_STORAGE_VOL; OPERATION_INVALID: the pool is not active.
        ConfError: "config_unsupported": the volume is neither a file nor a block device.
    """
    for disk in disks:
        for source, _, _ in disk.chain():
            if source.pool is None or source.volume is None:
                continue
            request = ResolveVolume(pool=source.pool, volume=source.volume)
            volume = await stord.call(request)
            if volume.type not in ("file", "block") or source.mode == "direct":
                detail = (
                    f"volume '{source.volume}' of pool '{source.pool}' cannot be a disk: only "
                    "files and devices of the host can, in mode 'host'"
                )
                raise ConfError("config_unsupported", detail, "disk/source")
            source.type, source.place = volume.type, volume.path


def drop_missing_disks(domain: Domain) -> None:
    """Drop disks with startupPolicy='optional' whose image is missing; drives are emptied."""
    missing = [disk for disk in domain.devices.disks if is_missing(disk)]
    for disk in missing:
        log.warning("%s starts without disk %s: no image", domain.name, disk.target.dev)
        if disk.device in ("cdrom", "floppy"):
            disk.source = None
    domain.devices.disks = [
        disk for disk in domain.devices.disks if disk not in missing or disk.source is None
    ]


def is_missing(disk: Disk) -> bool:
    """Return whether the disk's image is optional, and is not there."""
    source = disk.source
    if source is None or source.startup_policy != "optional" or source.fdgroup is not None:
        return False
    path = source.file if source.type == "file" else source.dev
    return source.type in ("file", "block") and bool(path) and not Path(path or "").exists()
