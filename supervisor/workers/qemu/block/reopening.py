"""Opens images below the top one for writing for a moment: their bitmaps are in their headers.

Owns: that they are opened for reading only again. May touch: QEMU, by QMP; owners of images.
Source: libvirt 9.0, qemuBlockReopenReadWrite; QEMU 7.2, blockdev-reopen.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import msgspec

from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import layers
from rpc.errors import VirError
from supervisor.workers.qemu.argv.disk import shared_node_options
from supervisor.workers.qemu.argv.storage import format_node
from supervisor.workers.qemu.block.nodes import live_nodes
from supervisor.workers.qemu.disk_locks.locks import unlock
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.file_owners import chown_files

log = logging.getLogger(__name__)


@asynccontextmanager
async def writable(guest: Guest, images: Sequence[tuple[Disk, str]]) -> AsyncIterator[None]:
    """Have images that are only read be writable while the body runs.

    Args:
        guest: the guest.
        images: each with its disk and its format node, which is not the disk's top one.

    Raises:
        VirError: QEMU or the file system refuses; what the body raises.
    """
    async with AsyncExitStack() as undo:
        for disk, node in images:
            place = node_place(disk, node)
            layer = layers(disk)[place]
            given = await chown_files(guest, Disk(type=layer.type, source=layer.source))
            undo.push_async_callback(unlock, guest, given.locked)
            undo.push_async_callback(_close, guest, reopen_arguments(disk, place, read_only=True))
            arguments = reopen_arguments(disk, place, read_only=False)
            await guest.monitor.execute("blockdev-reopen", arguments)
        yield


def node_place(disk: Disk, node: str) -> int:
    """Return the place of an image in its disk's chain, by its format node."""
    images = live_nodes(disk).images
    return next(place for place, image in enumerate(images) if image.format_name == node)


def reopen_arguments(disk: Disk, place: int, *, read_only: bool) -> dict[str, object]:
    """Return the arguments of blockdev-reopen: all options of the node, which it else resets."""
    nodes = live_nodes(disk)
    image = replace(nodes.images[place], read_only=read_only)
    is_last = place + 1 == len(nodes.images)
    below = None if is_last else nodes.images[place + 1].format_name
    ends = is_last and nodes.terminated
    # It may have been the top image, and become it again by a commit: it keeps what that has.
    _, options = format_node(image, shared_node_options(disk), top=True, below=below, ends=ends)
    return {"options": [msgspec.json.decode(options, type=dict[str, object])]}


async def end_writing(guest: Guest, disk: Disk, place: int) -> bool:
    """Have an image below a disk's top one be only read, and its metadata be in its file.

    QEMU 7.2 leaves the base of a cancelled active commit writable; a later commit into it does not
    bring the metadata to the file then, and the data would be lost with QEMU's process.

    Returns:
        Whether QEMU has done it.
    """
    return await _close(guest, reopen_arguments(disk, place, read_only=True))


async def _close(guest: Guest, arguments: dict[str, object]) -> bool:
    try:
        await guest.monitor.execute("blockdev-reopen", arguments)
    except VirError as error:
        log.warning("%s: an image stays open for writing: %s", guest.name, error)
        return False
    return True
