"""Has the bitmaps of checkpoints follow the data that a block job moves from image to image.

Owns: which images a job has merged or copied into which. May touch: QEMU, by QMP.
Source: libvirt 9.0, qemuBlockJobProcessEventCompletedCommitBitmaps and its siblings.

A job's end is handled twice if a worker dies over it; a merge adds nothing the second time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers
from rpc.errors import VirError
from supervisor.objects.block_job import BlockJobKind, BlockJobRecord
from supervisor.workers.qemu.block import bitmaps
from supervisor.workers.qemu.block.bitmaps import ACTIVE_WRITES, NodeBitmaps
from supervisor.workers.qemu.block.checkpoints import transact
from supervisor.workers.qemu.block.image_nodes import bitmaps_of, query_nodes
from supervisor.workers.qemu.block.mirrors import mirror_layers
from supervisor.workers.qemu.block.nodes import layer_nodes
from supervisor.workers.qemu.block.reopening import writable
from supervisor.workers.qemu.guest import Guest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MovedData:
    """The images whose data a job has put into another one."""

    sources: Sequence[Layer]  # from the top down; those of a pull have the target first
    target: Layer
    is_read_only: bool = False  # the target is not the disk's top image afterwards

    @property
    def target_node(self) -> str:
        """The format node of the target."""
        return node_of(self.target)

    @property
    def source_nodes(self) -> list[str]:
        """The format nodes of the sources."""
        return [node_of(layer) for layer in self.sources]


def node_of(layer: Layer) -> str:
    """Return the node of an image that has its bitmaps."""
    return layer_nodes(layer, read_only=True).format_name


def moved_data(disk: Disk, record: BlockJobRecord) -> MovedData | None:
    """Return what a job moves; None: the disk has not the images that it was begun with. Pure."""
    chain = layers(disk)
    places = {layer.index: place for place, layer in enumerate(chain)}
    if record.kind is BlockJobKind.COPY:
        copied = mirror_layers(disk)
        sources = chain[:1] if record.shallow else chain
        return MovedData(sources, copied[0]) if copied and chain else None
    base = len(chain) if record.base is None else places.get(record.base)
    if base is None or not chain:
        return None
    if record.kind is BlockJobKind.PULL:
        return MovedData(chain[:base], chain[0])
    top = places.get(record.top)
    if top is None or base >= len(chain):
        return None
    return MovedData(chain[top:base], chain[base], is_read_only=top > 0)


async def before_pivot(guest: Guest, disk: Disk, record: BlockJobRecord) -> None:
    """Have the writes that reach a mirror's target from the pivot on be noted.

    Raises:
        VirError: QEMU refuses.
    """
    moved = moved_data(disk, record)
    if moved is None or moved.target.format != "qcow2":
        return
    found = bitmaps_of(await query_nodes(guest))
    if any(found.get(node) for node in moved.source_nodes):
        await transact(guest, bitmaps.before_pivot(moved.target_node, found))


async def after_job(guest: Guest, disk: Disk, record: BlockJobRecord, *, done: bool) -> None:
    """Merge bitmaps, when QEMU has concluded a job and the live XML has the chain before it.

    What cannot be merged is logged: such a checkpoint is refused as inconsistent when it is used.
    """
    moved = moved_data(disk, record)
    if moved is None:
        return
    try:
        found = bitmaps_of(await query_nodes(guest))
        if not done:
            if bitmaps.bitmap_of(found, moved.target_node, ACTIVE_WRITES) is not None:
                await transact(guest, [bitmaps.remove(moved.target_node, ACTIVE_WRITES)])
        elif moved.target.format == "qcow2":
            await _merge(guest, disk, moved, found)
        elif names := sorted({name for node in moved.source_nodes for name in found.get(node, {})}):
            log.warning(
                "%s: disk %s: an image of format %s keeps no bitmaps; lost: %s",
                guest.name, disk.target.dev, moved.target.format, ", ".join(names),
            )  # fmt: skip
    except VirError as error:
        log.warning("%s: bitmaps of disk %s are not merged: %s", guest.name, disk.target.dev, error)


async def _merge(guest: Guest, disk: Disk, moved: MovedData, found: NodeBitmaps) -> None:
    actions = bitmaps.job_end_actions(moved.source_nodes, moved.target_node, found)
    if not actions:
        return
    async with AsyncExitStack() as stack:
        if moved.is_read_only:
            await stack.enter_async_context(writable(guest, [(disk, moved.target_node)]))
        await transact(guest, actions)
