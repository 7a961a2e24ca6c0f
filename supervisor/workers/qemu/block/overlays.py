"""Puts overlays on top of a running guest's disks: a disk snapshot, at one moment for all disks.

Owns: the order: file, nodes, image, one transaction, live XML; undoing it; finding out after a
death whether the transaction was done. May touch: QEMU, by QMP; the new files; the guest's agent.
Source: libvirt 9.0, qemuSnapshotDiskPrepareOne and qemuSnapshotDiskCreate.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from conf.domain.device_xml import format_device, parse_device
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers, push_overlay
from conf.mapper import parse
from conf.snapshot.model import SnapshotDisk
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.block import CreateOverlays
from supervisor.objects.block_job import PendingOverlay
from supervisor.workers.qemu.agent import freezing
from supervisor.workers.qemu.block.bitmaps import Action, NodeBitmaps, overlay_actions
from supervisor.workers.qemu.block.image_nodes import (
    NewImage,
    add_image,
    bitmaps_of,
    query_nodes,
    virtual_size,
)
from supervisor.workers.qemu.block.job_commands import end_create_jobs
from supervisor.workers.qemu.block.live_disks import (
    change_chain,
    check_no_job,
    check_supports_jobs,
    find_disk,
)
from supervisor.workers.qemu.block.new_files import create_file, remove_file
from supervisor.workers.qemu.block.nodes import PREFIX, free_index, live_nodes
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.detach import collect, used_nodes
from supervisor.workers.qemu.hotplug.file_owners import chown_files, give_back

MAX_DEPTH: Final = 200  # images of a chain, as with libvirt
TRANSACTION_S: Final = 20.0  # QEMU drains the guest's requests first

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Overlay:
    """One disk, and what is put on top of it."""

    disk: Disk
    layer: Layer


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
    found = await query_nodes(guest)
    noted = bitmaps_of(found) if noted is None else noted
    index = free_index(found)
    overlays = [_overlay(guest, text, index + number) for number, text in enumerate(request.disks)]
    async with AsyncExitStack() as undo:
        pending = [
            await _prepare_file(guest, overlay, undo, reuse=request.reuse) for overlay in overlays
        ]
        # Before QEMU has them: whoever comes after this worker can tell what QEMU has done.
        guest.status.overlays = pending
        guest.save()
        undo.callback(_forget, guest)
        actions: list[Action] = []
        for overlay in overlays:
            top = live_nodes(overlay.disk).images[0]
            size = virtual_size(found, top.format_name)
            new = None if request.reuse else NewImage(size, top)
            nodes = await add_image(guest, overlay.disk, overlay.layer, undo, new=new)
            data = {"node": top.format_name, "overlay": nodes.format_name}
            actions += overlay_actions(top.format_name, nodes.format_name, noted)
            actions.append({"type": "blockdev-snapshot", "data": data})
        async with freezing.frozen(guest, wanted=request.quiesce):
            await guest.monitor.execute(
                "transaction", {"actions": actions}, timeout_s=TRANSACTION_S
            )
            undo.pop_all()
            _apply(guest, pending)
            guest.update_and_publish()


def _overlay(guest: Guest, text: str, index: int) -> Overlay:
    """Check one disk.

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
    if len(chain) + 1 > MAX_DEPTH:
        detail = f"backing chains more than {MAX_DEPTH} layers deep are not supported for disk"
        error = ErrorCode.OPERATION_UNSUPPORTED
        raise VirError(error, f"{detail} '{disk.target.dev}'", ErrorDomain.QEMU)
    layer = Layer(
        type=wanted.type or "file",
        source=wanted.source,
        format=wanted.format or "qcow2",
        index=index,
        cache=wanted.driver.metadata_cache if wanted.driver else None,
    )
    return Overlay(disk, layer)


async def _prepare_file(
    guest: Guest, overlay: Overlay, undo: AsyncExitStack, *, reuse: bool
) -> PendingOverlay:
    """Make an overlay's file, and give it to QEMU's user."""
    path = overlay.layer.path
    created = ""
    if path and not reuse and overlay.layer.type == "file" and create_file(path):
        created = path
        undo.callback(remove_file, path)
    image = Disk(type=overlay.layer.type, source=overlay.layer.source)
    undo.push_async_callback(give_back, guest, await chown_files(guest, image))
    _, after = parse_device(format_device(overlay.disk, live=True))
    assert isinstance(after, Disk), "written as a <disk>"
    push_overlay(after, overlay.layer)
    return PendingOverlay(
        target=overlay.disk.target.dev,
        disk=format_device(after, live=True),
        index=overlay.layer.index or 0,
        created=created,
    )


def _forget(guest: Guest) -> None:
    guest.status.overlays = []
    guest.save()


def _apply(guest: Guest, pending: Sequence[PendingOverlay]) -> None:
    """Put overlays that QEMU uses into the live model; the caller writes the status file."""
    for overlay in pending:
        disk = find_disk(guest.domain, overlay.target)
        _, after = parse_device(overlay.disk)
        assert isinstance(after, Disk), "written by `_prepare_file`"
        change_chain(guest, disk, layers(after), terminated=after.chain_ends())
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
        _apply(guest, pending)
        guest.update_and_publish()
        return True
    log.info("%s: a snapshot that a worker died over is undone", guest.name)
    await collect(guest)
    for overlay in pending:
        if overlay.created:
            remove_file(overlay.created)
    _forget(guest)
    return False
