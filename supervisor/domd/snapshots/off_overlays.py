"""Overlays of domains that are off: made by qemu-img, and put on the disks of a definition.

Owns: what a definition says of an overlay and of what is below it; removing new files again.
May touch: images, by qemu-img. May not touch: definitions' files, running guests.
Source: libvirt 9.0, qemuSnapshotCreateQcow2Files, qemuSnapshotCreateInactiveExternal.
"""

from __future__ import annotations

import asyncio
import logging
import os

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers, push_overlay, set_layers
from conf.snapshot.model import SnapshotDisk
from supervisor.domd.domain import DomainObject
from supervisor.domd.snapshots.qemu_img import plan_overlay, run_image

log = logging.getLogger(__name__)


async def put_overlay(
    domain: DomainObject, edited: Domain, item: SnapshotDisk, created: list[str], *, reuse: bool
) -> None:
    """Make an overlay with qemu-img, and put it on a disk of a definition.

    Args:
        domain: of the disk.
        edited: its definition, changed in place.
        item: the overlay.
        created: gets the path of a file that is made.
        reuse: the overlay is there.

    Raises:
        VirError: qemu-img failed.
    """
    disk = disk_of(edited, item.name)
    below = layers(disk)[0]
    assert item.source is not None, "an overlay was given its name"
    overlay = Layer(
        type=item.type or "file",
        source=item.source,
        format=item.format or "qcow2",
        cache=item.driver.metadata_cache if item.driver is not None else None,
    )
    if not reuse:
        if overlay.path and not await asyncio.to_thread(os.path.exists, overlay.path):
            created.append(overlay.path)
        await run_image(plan_overlay(overlay, below), domain.errors)
    use_overlay(disk, overlay, reuse=reuse)


def use_overlay(disk: Disk, overlay: Layer, *, reuse: bool = False) -> None:
    """Put an overlay on a disk of a definition."""
    # What lies below is in the overlay's header, but for the secrets of encrypted images; a
    # definition that says more must say all.
    is_encrypted = any(layer.source.encryption is not None for layer in layers(disk))
    if not reuse and (disk.backing_store is not None or is_encrypted):
        push_overlay(disk, overlay)
    else:
        set_layers(disk, [overlay], terminated=False)


def disk_of(model: Domain, target: str) -> Disk:
    """Return the disk of a target that the domain has."""
    return next(disk for disk in model.devices.disks if disk.target.dev == target)


def remove_created(paths: list[str]) -> None:
    """Remove files that a failed snapshot has made; an error is logged."""
    for path in paths:
        try:
            os.unlink(path)
        except OSError as error:
            log.warning("new image %s cannot be removed: %s", path, error)
