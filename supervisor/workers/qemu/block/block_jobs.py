"""Begins block jobs: pull and commit; ends, limits and queries every block job.

Owns: what is checked before, and the record that is written before QEMU is asked. May touch: QEMU,
by QMP; headers of images, to read; owners of images.
Source: libvirt 9.0, qemuBlockCommit, qemuDomainBlockPullCommon, qemuDomainBlockJobAbort.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from conf.domain.devices.backing_store import BackingFormat
from conf.domain.devices.disk import Disk, Mirror
from conf.domain.devices.disk_chain import Layer, layers, source_name
from rpc.enums import ConnectDomainEventBlockJobStatus as JobStatus
from rpc.enums import DomainBlockCommitFlags as CommitFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images import read_image_as
from supervisor.images.files import read_image_file
from supervisor.messages.block import (
    BlockCommit,
    BlockJobAbort,
    BlockJobProgress,
    BlockJobSetSpeed,
    BlockPull,
    MergeImage,
)
from supervisor.objects.block_job import (
    JOB_TYPES,
    BlockJobKind,
    BlockJobRecord,
    BlockJobState,
)
from supervisor.workers.qemu.argv.storage import backing_string
from supervisor.workers.qemu.block.chain_lookup import (
    find_image,
    no_source_to_commit,
    relative_name,
)
from supervisor.workers.qemu.block.disk_sources import resolve_volumes
from supervisor.workers.qemu.block.image_nodes import plan_context
from supervisor.workers.qemu.block.job_begin import begin_job
from supervisor.workers.qemu.block.job_commands import QemuBlockJob
from supervisor.workers.qemu.block.job_pivots import START_S, pivot
from supervisor.workers.qemu.block.live_disks import (
    check_no_job,
    check_supports_jobs,
    find_disk,
    job_of,
)
from supervisor.workers.qemu.block.nodes import layer_nodes, live_nodes
from supervisor.workers.qemu.disk_locks.locks import unlock
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.file_owners import chown_files

HEADERS_S: Final = 10.0

log = logging.getLogger(__name__)


async def find_job_disk(guest: Guest, path: str) -> Disk:
    """Find a disk that is to get a block job, with the paths of volumes.

    Raises:
        VirError: it cannot have one.
    """
    disk = find_disk(guest.domain, path)
    check_no_job(guest.status, disk)
    check_supports_jobs(disk)
    await resolve_volumes(guest.context.node.link("stord"), [disk])
    return disk


async def header_names(chain: Sequence[Layer]) -> list[str | None]:
    """Return for each image how the header of the image above names it; None: it is not local."""

    def read() -> list[str | None]:
        names: list[str | None] = [None]
        for layer in chain[:-1]:
            path = layer.path
            if path is None:
                names.append(None)
                continue
            try:
                info = read_image_as(layer.format, read_image_file(path).head)
            except OSError as error:
                log.warning("header of %s is not read: %s", path, error)
                names.append(None)
            else:
                names.append(info.backing_file)
        return names

    try:
        async with asyncio.timeout(HEADERS_S):
            return await asyncio.to_thread(read)
    except TimeoutError:
        detail = f"headers of images cannot be read in {HEADERS_S:.0f} s"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE) from None


# Pull.


async def pull(guest: Guest, request: BlockPull) -> None:
    """Begin to merge the images above `base`, or all, into the top one.

    Raises:
        VirError: as the message says.
    """
    disk = await find_job_disk(guest, request.path)
    chain = layers(disk)
    if not chain:
        detail = f"disk '{disk.target.dev}' has no source to be pulled into"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    top = live_nodes(disk).images[0]
    job = f"pull-{disk.target.dev}-{top.format_name}"
    arguments: dict[str, object] = {
        "job-id": job,
        "device": top.format_name,
        "auto-finalize": True,
        "auto-dismiss": False,
    }
    base: Layer | None = None
    if request.base is not None:
        names = await header_names(chain)
        place = find_image(chain, request.base, disk.target.dev, beneath=0, header_names=names)
        base = chain[place]
        nodes = layer_nodes(base, read_only=True)
        arguments["base-node"] = nodes.format_name
        relative = relative_name(names, 0, place) if request.relative else None
        if request.relative and relative is None:
            raise _no_relative()
        context = await plan_context(guest, disk, [])
        arguments["backing-file"] = relative or backing_string(context, nodes)
    if request.bandwidth:
        arguments["speed"] = request.bandwidth
    record = BlockJobRecord(
        id=job,
        kind=BlockJobKind.PULL,
        target=disk.target.dev,
        base=base.index if base is not None else None,
    )
    await begin_job(guest, record, "block-stream", arguments)


def _no_relative() -> VirError:
    detail = "can't keep relative backing relationship"
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)


# Commit.


async def commit(guest: Guest, request: BlockCommit, *, pivots: bool = False) -> None:
    """Begin to merge the images from `top` down into `base`.

    Args:
        guest: the guest; the caller holds the device lock.
        request: what to merge.
        pivots: an active commit is ended by itself, also by the next worker.

    Raises:
        VirError: as the message says.
    """
    disk = find_disk(guest.domain, request.path)
    await resolve_volumes(guest.context.node.link("stord"), [disk])
    chain = layers(disk)
    target, flags = disk.target.dev, request.flags
    shallow = bool(flags & CommitFlags.SHALLOW)
    if not chain:
        raise no_source_to_commit(target, request.base, shallow=shallow)
    names = await header_names(chain)
    top = 0
    if request.top is not None and request.top != target:
        top = find_image(chain, request.top, target, header_names=names)
    if request.base is None and shallow:
        base = top + 1
    else:
        base = find_image(chain, request.base, target, beneath=top, header_names=names)
    check_no_job(guest.status, disk)
    check_supports_jobs(disk)
    _check_commit(chain, top, base, flags, target)
    await _begin_commit(guest, request, disk, (top, base), names, pivots=pivots)


def _check_commit(chain: Sequence[Layer], top: int, base: int, flags: int, target: str) -> None:
    """Refuse what cannot be committed.

    Raises:
        VirError: INVALID_ARG.
    """
    active = bool(flags & CommitFlags.ACTIVE)
    names = [source_name(layer.source) for layer in chain]
    detail = ""
    if top == 0 and not active:
        detail = f"commit of '{target}' active layer requires active flag"
    elif top > 0 and active:
        detail = f"active commit requested but '{names[top]}' is not active"
    elif top + 1 >= len(chain):
        detail = f"top '{names[top]}' in chain for '{names[0]}' has no backing file"
    elif flags & CommitFlags.SHALLOW and base != top + 1:
        detail = (
            f"base '{names[base]}' is not immediately below '{names[top]}' in chain for "
            f"'{names[0]}'"
        )
    if detail:
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)


async def _begin_commit(
    guest: Guest,
    request: BlockCommit,
    disk: Disk,
    places: tuple[int, int],
    names: Sequence[str | None],
    *,
    pivots: bool,
) -> None:
    chain, (top, base) = layers(disk), places
    nodes = live_nodes(disk)
    top_nodes, base_nodes = nodes.images[top], nodes.images[base]
    job = f"commit-{disk.target.dev}-{top_nodes.format_name}"
    arguments: dict[str, object] = {
        "job-id": job,
        "device": nodes.top_name,
        "top-node": top_nodes.format_name,
        "base-node": base_nodes.format_name,
        "auto-finalize": True,
        "auto-dismiss": False,
    }
    relative = relative_name(names, top - 1, base) if top > 0 else None
    if request.flags & CommitFlags.RELATIVE and top > 0 and relative is None:
        raise _no_relative()
    if top > 0:
        context = await plan_context(guest, disk, [])
        wanted = relative if request.flags & CommitFlags.RELATIVE else None
        arguments["backing-file"] = wanted or backing_string(context, base_nodes)
    if request.bandwidth:
        arguments["speed"] = request.bandwidth
    record = BlockJobRecord(
        id=job,
        kind=BlockJobKind.ACTIVE_COMMIT if top == 0 else BlockJobKind.COMMIT,
        target=disk.target.dev,
        top=chain[top].index,
        base=chain[base].index,
        delete=bool(request.flags & CommitFlags.DELETE),
        pivots=pivots,
    )
    async with AsyncExitStack() as undo:
        # QEMU writes to the base, and to the header of the image above the top.
        for written in (chain[base], *([chain[top - 1]] if top > 0 else [])):
            given = await chown_files(guest, Disk(type=written.type, source=written.source))
            undo.push_async_callback(unlock, guest, given.locked)
        if top == 0:
            disk.mirror = _commit_mirror(chain[base])
        await begin_job(guest, record, "block-commit", arguments)
        undo.pop_all()


def _commit_mirror(base: Layer) -> Mirror:
    """Return the <mirror> of an active commit: the base, which follows the guest's writes."""
    source = replace(base.source, index=base.index, type=base.source.type, place=base.source.place)
    return Mirror(
        type=base.type,
        job="active-commit",
        format=BackingFormat(type=base.format),
        source=source,
    )


async def merge(guest: Guest, request: MergeImage) -> None:
    """Commit an image to the one below it, and wait until that is done.

    Raises:
        VirError: as the message says.
    """
    disk = find_disk(guest.domain, request.target)
    active = source_name(layers(disk)[0].source) == request.top if layers(disk) else False
    flags = CommitFlags.DELETE | (CommitFlags.ACTIVE if active else 0)
    asked = BlockCommit(
        path=request.target, base=request.base, top=request.top, bandwidth=0, flags=flags
    )
    async with guest.device_lock:
        await commit(guest, asked, pivots=active)
        end = guest.job_waits.end_of(require_job(guest, disk).id)
    guest.publish_status(with_xml=True)
    result = await end
    if result.outcome != JobStatus.COMPLETED:
        detail = f"block commit failed while deleting disk '{request.target}' snapshot"
        code = ErrorCode.INTERNAL_ERROR
        raise VirError(code, f"{detail}: '{result.error}'", ErrorDomain.QEMU)


# Every block job.


async def abort(guest: Guest, request: BlockJobAbort) -> None:
    """End a block job.

    Raises:
        VirError: as the message says.
    """
    disk = find_disk(guest.domain, request.path)
    record = require_job(guest, disk)
    if record.state in (BlockJobState.ABORTING, BlockJobState.PIVOTING):
        detail = f"block job on disk '{disk.target.dev}' is still being ended"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
    end = guest.job_waits.end_of(record.id)
    if request.pivot:
        await pivot(guest, disk, record)
    else:
        previous = record.state
        record.state = BlockJobState.ABORTING
        if disk.mirror is not None:
            disk.mirror.ready = "abort"
        guest.save()
        try:
            arguments = {"device": record.id}
            await guest.monitor.execute("block-job-cancel", arguments, timeout_s=START_S)
        except VirError:
            record.state = previous
            if disk.mirror is not None:
                disk.mirror.ready = "yes" if previous is BlockJobState.READY else None
            guest.update_xml()
            raise
    guest.update_and_publish()
    if not request.wait:
        return
    result = await end
    if request.pivot and result.outcome == JobStatus.FAILED:
        detail = f"block job '{record.id}' failed while pivoting"
        reason = f": {result.error}" if result.error else ""
        raise VirError(ErrorCode.OPERATION_FAILED, f"{detail}{reason}", ErrorDomain.QEMU)


def require_job(guest: Guest, disk: Disk) -> BlockJobRecord:
    """Return the block job of a disk.

    Raises:
        VirError: INVALID_ARG: there is none.
    """
    record = job_of(guest.status, disk.target.dev)
    if record is None:
        detail = f"disk {disk.target.dev} does not have an active block job"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
    return record


async def set_speed(guest: Guest, request: BlockJobSetSpeed) -> None:
    """Limit a block job.

    Raises:
        VirError: INVALID_ARG: there is none; QEMU's.
    """
    record = require_job(guest, find_disk(guest.domain, request.path))
    arguments = {"device": record.id, "speed": request.bandwidth}
    await guest.monitor.execute("block-job-set-speed", arguments)


async def progress(guest: Guest, path: str) -> BlockJobProgress:
    """Return how far the block job of a disk is.

    Raises:
        VirError: INVALID_ARG: no such disk.
    """
    disk = find_disk(guest.domain, path)
    record = job_of(guest.status, disk.target.dev)
    if record is None:
        return BlockJobProgress()
    kind = JOB_TYPES[record.kind]
    jobs = await guest.monitor.query("query-block-jobs", list[QemuBlockJob])
    job = next((job for job in jobs if job.device == record.id), None)
    if job is None:  # it has ended, and its end is not in the live XML yet
        return BlockJobProgress(type=kind, current=0, end=1)
    current, end = shown_progress(job, record.kind)
    return BlockJobProgress(type=kind, bandwidth=job.speed, current=current, end=end)


def shown_progress(job: QemuBlockJob, kind: BlockJobKind) -> tuple[int, int]:
    """Return progress as clients poll it: at its end exactly when the job can be pivoted.

    Source: libvirt 9.0, qemuBlockJobInfoTranslate.
    """
    current, end = job.offset, job.len
    if current == 0 and end == 0:
        return (1, 1) if job.ready else (0, 1)
    if not job.ready and current == end and current > 0:
        return current - 1, end
    return current, end
