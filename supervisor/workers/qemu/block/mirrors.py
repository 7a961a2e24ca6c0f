"""The <mirror> of a disk that is copied: its images, and their nodes.

Owns: those. May touch: QEMU, by QMP. May not touch: the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from conf.domain.devices.backing_store import BackingFormat, BackingStore
from conf.domain.devices.disk import Disk, DiskDriver, Mirror
from conf.domain.devices.disk_chain import Layer, layers, set_layers
from supervisor.workers.qemu.block.image_nodes import add_image
from supervisor.workers.qemu.guest import Guest


def mirror_layers(disk: Disk) -> list[Layer]:
    """List the images of a disk's copy, from the top down."""
    mirror = disk.mirror
    if mirror is None or mirror.source is None:
        return []
    holder = Disk(
        type=mirror.type,
        source=mirror.source,
        driver=DiskDriver(type=mirror.format.type if mirror.format else None),
        backing_store=mirror.backing_store,
    )
    return layers(holder)


def make_mirror(chain: Sequence[Layer], *, terminated: bool) -> Mirror:
    """Return the <mirror> of a copy."""
    holder = Disk()
    set_layers(holder, chain, terminated=terminated)
    top = chain[0]
    return Mirror(
        type=top.type,
        file=top.source.file if top.type == "file" else None,
        old_format=top.format if top.type == "file" else None,
        job="copy",
        format=BackingFormat(type=top.format),
        source=holder.source,
        backing_store=holder.backing_store,
    )


def store_ends(store: BackingStore | None) -> bool:
    """Return whether the XML says that nothing is below the last image."""
    while store is not None:
        if store.type is None:
            return True
        store = store.backing_store
    return False


async def add_backing_nodes(
    guest: Guest, disk: Disk, chain: Sequence[Layer], undo: AsyncExitStack
) -> str | None:
    """Add the nodes of images that are only read, from the bottom up; the name of the topmost.

    Raises:
        ConfError, VirError: QEMU refuses.
    """
    below: str | None = None
    for layer in reversed(chain):
        nodes = await add_image(guest, disk, layer, undo, below=below, writable=False)
        below = nodes.format_name
    return below
