"""Puts overlays on top of a running guest's disks: a disk snapshot, at one moment for all disks.

Owns: the order: file, nodes, image, one transaction, live XML; undoing it; finding out after a
death whether the transaction was done. May touch: QEMU, by QMP; the new files; the guest's agent.
Source: libvirt 9.0, qemuSnapshotDiskPrepareOne and qemuSnapshotDiskCreate.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from copy import copy
from dataclasses import dataclass, replace
from typing import Final

from conf.domain.device_xml import format_device, parse_device
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers, push_overlay, top_layer
from conf.domain.devices.disk_defaults import complete_encryption
from conf.mapper import parse
from conf.snapshot.model import SnapshotDisk
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.new_qcow2 import NewQcow2, NotSupported, new_qcow2
from supervisor.messages.block import CreateOverlays
from supervisor.objects.block_job import PendingOverlay
from supervisor.workers.qemu.agent import freezing
from supervisor.workers.qemu.argv.storage import backing_string, format_driver
from supervisor.workers.qemu.block.bitmaps import Action, NodeBitmaps, overlay_actions
from supervisor.workers.qemu.block.image_nodes import (
    NewImage,
    PlannedImage,
    add_planned,
    add_steps,
    plan_image,
)
from supervisor.workers.qemu.block.job_commands import end_create_jobs
from supervisor.workers.qemu.block.live_disks import (
    check_no_job,
    check_supports_jobs,
    find_disk,
    put_overlay,
)
from supervisor.workers.qemu.block.new_files import remove_file
from supervisor.workers.qemu.block.node_facts import NodeFacts, find_facts, take_numbers
from supervisor.workers.qemu.block.nodes import PREFIX, ImageNodes, layer_nodes
from supervisor.workers.qemu.block.overlay_files import OverlayFiles
from supervisor.workers.qemu.disk_locks.locks import unlock_lower
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.detach import collect, used_nodes
from supervisor.workers.qemu.hotplug.file_owners import chown_files, give_back

MAX_DEPTH: Final = 200  # images of a chain, as with libvirt
TRANSACTION_S: Final = 20.0  # QEMU drains the guest's requests first

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """One disk, and what is put on top of it."""

    disk: Disk
    layer: Layer
    after: Disk  # the disk with the overlay
    planned: PlannedImage

    @property
    def top(self) -> ImageNodes:
        """The image that the guest writes to until then."""
        top = top_layer(self.disk)
        assert top is not None, "an empty drive has no overlay"
        return layer_nodes(top, read_only=bool(self.disk.readonly))


async def create_overlays(
    guest: Guest, request: CreateOverlays, *, noted: NodeBitmaps | None = None
) -> None:
    """Put overlays on top of disks, all at one moment; the caller holds the device lock.

    Args:
        guest: the guest.
        request: which disks, and how.
        noted: the bitmaps that there were before the memory was saved: QEMU hides them afterwards,
            until the guest goes on. None: those that there are.

    Raises:
        ConfError, VirError: nothing has changed.
    """
    chosen = [_check(guest, text) for text in request.disks]
    facts = await find_facts(guest, [disk for disk, _ in chosen], noted=noted)
    first = take_numbers(guest, (), len(chosen))
    overlays = [
        await _plan(guest, disk, replace(layer, index=first + number))
        for number, (disk, layer) in enumerate(chosen)
    ]
    files = OverlayFiles()
    try:
        async with AsyncExitStack() as undo:
            undo.callback(_forget, guest)  # last, when the files are gone
            if not request.reuse:
                await files.make([path for one in overlays if (path := _own_path(one.layer))])
                undo.callback(files.remove)
            pending = [await _give_file(guest, one, files, undo) for one in overlays]
            # Before QEMU has them: whoever comes after this worker can tell what QEMU has done.
            guest.status.overlays = pending
            guest.save()
            await _add_images(guest, overlays, facts, files, undo, reuse=request.reuse)
            actions = [action for one in overlays for action in _actions(one, facts)]
            async with freezing.frozen(guest, wanted=request.quiesce):
                await guest.monitor.execute(
                    "transaction", {"actions": actions}, timeout_s=TRANSACTION_S
                )
                undo.pop_all()
                for one in overlays:
                    put_overlay(guest, one.disk, one.after)
                guest.status.overlays = []
                guest.update_and_publish({"devices"})
    finally:
        files.close()
    await unlock_lower(guest, (one.disk for one in overlays))


async def _add_images(
    guest: Guest,
    overlays: Sequence[Overlay],
    facts: NodeFacts,
    files: OverlayFiles,
    undo: AsyncExitStack,
    *,
    reuse: bool,
) -> None:
    """Have QEMU open the overlays; it makes those that cannot be made here.

    Raises:
        VirError: SYSTEM_ERROR; what QEMU refuses.
    """
    images = {} if reuse else _plan_files(overlays, facts, files)
    await files.write(images)
    there = [one for one in overlays if reuse or one.layer.path in images]
    # In one round trip, while the disk takes the images.
    await add_steps(guest, [step for one in there for step in one.planned.steps], undo)
    for one in overlays:
        if one not in there:
            new = NewImage(facts.shape_of(one.disk.target.dev), one.top)
            await add_planned(guest, one.planned, undo, new=new)
    await files.wait_durable()


def _plan_files(
    overlays: Sequence[Overlay], facts: NodeFacts, files: OverlayFiles
) -> dict[str, NewQcow2]:
    """Lay out the images that need nothing of QEMU, by the paths of files that were made for them.

    A file that was there, though empty, may be a link of somebody who has no rights where it leads.
    """
    images = {}
    for one in overlays:
        layer, shape = one.layer, facts.shape_of(one.disk.target.dev)
        if layer.path not in files or layer.format != "qcow2" or layer.source.encryption:
            continue
        backing = backing_string(one.planned.context, one.top)
        try:
            images[layer.path or ""] = new_qcow2(shape, backing, format_driver(one.top))
        except NotSupported as error:
            log.info("QEMU is to make %s: %s", layer.path, error)
    return images


def _actions(overlay: Overlay, facts: NodeFacts) -> list[Action]:
    """Plan the part of the transaction that is about one disk."""
    top, nodes = overlay.top.format_name, overlay.planned.nodes.format_name
    data = {"node": top, "overlay": nodes}
    snapshot: Action = {"type": "blockdev-snapshot", "data": data}
    return [*overlay_actions(top, nodes, facts.bitmaps), snapshot]


def _check(guest: Guest, text: str) -> tuple[Disk, Layer]:
    """Check one disk: it, and the image that is to be on top of it, without a number.

    Raises:
        ConfError, VirError: it cannot have an overlay.
    """
    wanted = parse(SnapshotDisk, text)
    disk = find_disk(guest.domain, wanted.name)
    check_no_job(guest.status, disk)
    check_supports_jobs(disk)
    if disk.device == "lun":
        detail = "external active snapshots are not supported on scsi passthrough devices"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)
    chain = layers(disk)
    if not chain or wanted.source is None:
        detail = f"disk '{disk.target.dev}' has no source to take a snapshot of"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)
    complete_encryption(wanted.source.encryption)
    if len(chain) + 1 > MAX_DEPTH:
        detail = f"backing chains more than {MAX_DEPTH} layers deep are not supported for disk"
        error = ErrorCode.OPERATION_UNSUPPORTED
        raise VirError(error, f"{detail} '{disk.target.dev}'", ErrorDomain.QEMU)
    layer = Layer(
        type=wanted.type or "file",
        source=wanted.source,
        format=wanted.format or "qcow2",
        cache=wanted.driver.metadata_cache if wanted.driver else None,
    )
    return disk, layer


async def _plan(guest: Guest, disk: Disk, layer: Layer) -> Overlay:
    after = copy(disk)
    push_overlay(after, layer)
    return Overlay(disk, layer, after, await plan_image(guest, disk, layer))


def _own_path(layer: Layer) -> str | None:
    """Return the path of the file that is to be made for an overlay."""
    return layer.path if layer.type == "file" else None


async def _give_file(
    guest: Guest, overlay: Overlay, files: OverlayFiles, undo: AsyncExitStack
) -> PendingOverlay:
    """Give an overlay's file to QEMU's user; the caller saves the status."""
    layer = overlay.layer
    image = Disk(type=layer.type, source=layer.source)
    undo.push_async_callback(give_back, guest, await chown_files(guest, image, saves=False))
    return PendingOverlay(
        target=overlay.disk.target.dev,
        disk=format_device(overlay.after, live=True),
        index=layer.index or 0,
        created=layer.path or "" if layer.path in files else "",
    )


def _forget(guest: Guest) -> None:
    guest.status.overlays = []
    guest.save()


def _apply_pending(guest: Guest, pending: Sequence[PendingOverlay]) -> None:
    """Put the overlays of a previous worker into the live model; the caller writes the status."""
    for overlay in pending:
        _, after = parse_device(overlay.disk)
        assert isinstance(after, Disk), "written by `_give_file`"
        put_overlay(guest, find_disk(guest.domain, overlay.target), after)
    guest.status.overlays = []


async def settle_overlays(guest: Guest) -> bool:
    """Find out whether QEMU has done what a previous worker died over, and finish or undo it.

    Returns:
        Overlays are used that it had not recorded.
    """
    pending = guest.status.overlays
    if not pending:
        return False
    await end_create_jobs(guest)
    used = await used_nodes(guest)
    # One transaction has put all overlays on their disks, or none.
    if any(f"{PREFIX}{overlay.index}-format" in used for overlay in pending):
        log.info("%s: a snapshot that a worker died over was made", guest.name)
        _apply_pending(guest, pending)
        guest.update_and_publish()
        return True
    log.info("%s: a snapshot that a worker died over is undone", guest.name)
    await collect(guest)
    for overlay in pending:
        if overlay.created:
            remove_file(overlay.created)
    _forget(guest)
    return False
