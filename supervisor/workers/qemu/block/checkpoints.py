"""Makes, deletes and measures the bitmaps of checkpoints in a running guest.

Owns: which nodes they are in, and the transactions. May touch: QEMU, by QMP; the guest's agent;
owners of images that are written to. May not touch: checkpoints' files.
Source: libvirt 9.0, qemuCheckpointCreate, qemuCheckpointDiscardBitmaps,
qemuCheckpointGetXMLDescUpdateSize.

A transaction is done as a whole or not at all, so a checkpoint has all of its bitmaps or none,
whichever process dies. domd finds out which by `find`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from conf.domain.devices.disk import Disk
from supervisor.messages.checkpoint import (
    CheckpointDiskState,
    CreateCheckpoint,
    DeleteCheckpoint,
    FindCheckpoint,
    MeasureCheckpoint,
)
from supervisor.workers.qemu.agent import freezing
from supervisor.workers.qemu.block import bitmaps
from supervisor.workers.qemu.block.bitmaps import Action
from supervisor.workers.qemu.block.image_nodes import bitmaps_of, query_nodes
from supervisor.workers.qemu.block.live_disks import find_disk
from supervisor.workers.qemu.block.nodes import live_nodes
from supervisor.workers.qemu.block.reopening import writable
from supervisor.workers.qemu.guest import Guest

TRANSACTION_S: Final = 20.0  # QEMU drains the guest's requests first
#: The bitmap of a measurement, which QEMU has for a moment; libvirt's name.
SIZE: Final = "libvirt-tmp-size-xml"


def chain_of(disk: Disk) -> list[str]:
    """List the nodes of a disk's images that can have bitmaps, from the top down."""
    return [image.format_name for image in live_nodes(disk).images]


def checkpoint_disks(guest: Guest, targets: Sequence[str]) -> list[Disk]:
    """List those of the disks that the guest has."""
    return [disk for disk in guest.domain.devices.disks if disk.target.dev in targets]


async def create(guest: Guest, request: CreateCheckpoint) -> None:
    """Make a checkpoint; the caller holds the device lock.

    Raises:
        VirError: as the message says.
    """
    disks = [find_disk(guest.domain, target) for target in request.disks]
    actions = bitmaps.checkpoint_actions([chain_of(disk)[0] for disk in disks], request.name)
    async with freezing.frozen(guest, wanted=request.quiesce):
        await transact(guest, actions)


async def transact(guest: Guest, actions: Sequence[Action]) -> None:
    """Have QEMU do all actions, or none.

    Raises:
        VirError: QEMU refuses.
    """
    if actions:
        arguments = {"actions": list(actions)}
        await guest.monitor.execute("transaction", arguments, timeout_s=TRANSACTION_S)


async def delete(guest: Guest, request: DeleteCheckpoint) -> None:
    """Delete a checkpoint; the caller holds the device lock.

    Raises:
        VirError: as the message says.
    """
    found = bitmaps_of(await query_nodes(guest))
    actions: list[Action] = []
    reopened: list[tuple[Disk, str]] = []
    for disk in checkpoint_disks(guest, request.disks):
        plan = bitmaps.deletion(chain_of(disk), request.name, found, disk=disk.target.dev)
        actions += plan.actions
        reopened += [(disk, node) for node in plan.reopen]
    async with writable(guest, reopened):
        await transact(guest, actions)


async def find(guest: Guest, request: FindCheckpoint) -> list[CheckpointDiskState]:
    """Return what QEMU has of a checkpoint."""
    found = bitmaps_of(await query_nodes(guest))
    states = []
    for disk in checkpoint_disks(guest, request.disks):
        chain = chain_of(disk)
        has = [bitmaps.bitmap_of(found, node, request.name) for node in chain]
        states.append(
            CheckpointDiskState(
                disk=disk.target.dev,
                is_present=any(bitmap is not None for bitmap in has),
                is_valid=bitmaps.is_chain_valid(chain, request.name, found),
            )
        )
    return states


async def measure(guest: Guest, request: MeasureCheckpoint) -> dict[str, int]:
    """Return the bytes that were written to disks since a checkpoint.

    Raises:
        VirError: QEMU refuses.
    """
    found = bitmaps_of(await query_nodes(guest))
    sizes: dict[str, int] = {}
    actions: list[Action] = []
    merged: dict[str, str] = {}  # the top node of each disk whose bitmaps are in several images
    for disk in checkpoint_disks(guest, request.disks):
        target, chain = disk.target.dev, chain_of(disk)
        if not bitmaps.is_chain_valid(chain, request.name, found):
            continue
        if len(chain) == 1 or bitmaps.bitmap_of(found, chain[1], request.name) is None:
            sizes[target] = found[chain[0]][request.name].count
            continue
        if bitmaps.bitmap_of(found, chain[0], SIZE) is not None:  # a worker died meanwhile
            actions.append(bitmaps.remove(chain[0], SIZE))
        actions += bitmaps.incremental_actions(chain, request.name, found, disk=target, into=SIZE)
        merged[target] = chain[0]
    if merged:
        await transact(guest, actions)
        try:
            found = bitmaps_of(await query_nodes(guest))
        finally:
            await transact(guest, [bitmaps.remove(node, SIZE) for node in merged.values()])
        sizes |= {target: found[node][SIZE].count for target, node in merged.items()}
    return sizes
