"""<source startupPolicy=>: what a guest is started without when its image is not there.

Owns: that decision. May touch: whether files exist; the model of a guest that is not started yet.
Source: libvirt 9.0 formatdomain, "startupPolicy".
"""

from __future__ import annotations

import logging
from pathlib import Path

from conf.domain import Domain
from conf.domain.devices.disk import Disk

log = logging.getLogger(__name__)


def drop_missing_disks(domain: Domain) -> None:
    """Empty the drives, and remove the disks, whose optional images are not there."""
    missing = [disk for disk in domain.devices.disks if is_missing(disk)]
    for disk in missing:
        log.warning("%s starts without %s: its image is missing", domain.name, disk.target.dev)
        if disk.device in ("cdrom", "floppy"):
            disk.source = None
    domain.devices.disks = [
        disk for disk in domain.devices.disks if disk not in missing or disk.source is None
    ]


def is_missing(disk: Disk) -> bool:
    """Whether an image may be missing, and is."""
    source = disk.source
    if source is None or source.startup_policy != "optional":
        return False
    path = source.file if source.type == "file" else source.dev
    return source.type in ("file", "block") and bool(path) and not Path(path or "").exists()
