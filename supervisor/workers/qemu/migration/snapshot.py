"""A snapshot with its memory in a file: pause, write the memory, put overlays on disks, go on.

Owns: that order. May touch: the guest; the memory's file; the overlays.
Source: libvirt 9.0, qemuSnapshotCreateActiveExternal. Unlike there, an earlier file at the path is
replaced when all else is done: a snapshot that fails leaves it as it was.
"""

from __future__ import annotations

import asyncio
import logging

from rpc.enums import DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.save_image import Compression, SaveData, new_image
from supervisor.messages.block import CreateOverlays, SaveExternal
from supervisor.objects.domain_status_xml import MemoryFile
from supervisor.workers.qemu.block.image_nodes import bitmaps_of, query_nodes
from supervisor.workers.qemu.block.overlays import create_overlays
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.lifecycle.commands import stop_vcpus
from supervisor.workers.qemu.migration.active_nodes import refuse_block_jobs
from supervisor.workers.qemu.migration.file_stream import write_to_file
from supervisor.workers.qemu.migration.guest_job import (
    NAMES,
    guest_job,
    record_file,
    refuse_aborted,
    report,
)
from supervisor.workers.qemu.migration.packing import Packing, find_packing
from supervisor.workers.qemu.migration.resume import resume_after_job
from supervisor.workers.qemu.migration.save import complete
from supervisor.workers.qemu.migration.stream import migrate_to_fd
from supervisor.workers.qemu.migration.target_file import (
    TargetFile,
    discard,
    open_target,
    plan_target,
    publish,
)
from supervisor.workers.state_table import Trigger

log = logging.getLogger(__name__)


async def save_external(guest: Guest, request: SaveExternal) -> None:
    """Save memory and disks; the guest goes on unless it is to be ended.

    Raises:
        ConfError, VirError: as `SaveExternal`.
    """
    async with guest_job(guest, request.job):
        await refuse_block_jobs(guest)
        compression = Compression(request.compression)
        packing = find_packing(compression, "snapshot")
        target = await asyncio.to_thread(plan_target, request.path)
        ran = guest.state is DomainState.RUNNING
        image = new_image(
            request.xml, was_running=ran, compression=compression, cookie=request.cookie
        )
        file = MemoryFile(path=target.path, temporary=target.temporary, resume=ran)
        done = False
        try:
            record_file(guest, file)
            await asyncio.to_thread(open_target, target, request.path, direct=False)
            noted = bitmaps_of(await query_nodes(guest))
            await _write_memory(guest, request, target, image, packing)
            async with guest.device_lock:
                overlays = CreateOverlays(disks=request.disks, reuse=request.reuse)
                await create_overlays(guest, overlays, noted=noted)
            # From here on the disks have been cut from what the memory belongs to: it is kept.
            file.complete = True
            guest.save()
            await asyncio.to_thread(_publish, target)
            done = True
        finally:
            guest.stop_cause = Trigger.STOPPED
            target.close()
            if not file.complete:
                discard(target.temporary)
            if ran and not (done and request.halt) and not guest.process.exited:
                await resume_after_job(guest, Trigger.RESUMED)


async def _write_memory(
    guest: Guest, request: SaveExternal, target: TargetFile, image: SaveData, packing: Packing
) -> None:
    """Write the image; the vCPUs are stopped afterwards."""
    file = guest.status.memory_file
    assert file is not None, "the job has it"
    if file.resume and request.live:
        guest.stop_cause = Trigger.STOPPED_TO_SNAPSHOT  # QEMU stops them itself at the end
    elif file.resume:
        await stop_vcpus(guest, Trigger.STOPPED_TO_SNAPSHOT)
    name = NAMES[request.job.job]
    await write_to_file(
        guest,
        target,
        image.encode(complete=False),
        packing,
        lambda fd: migrate_to_fd(guest, fd, name, lambda progress: report(guest, progress)),
    )
    refuse_aborted(guest)
    await asyncio.to_thread(complete, target, image)


def _publish(target: TargetFile) -> None:
    """Give the complete image its name.

    Raises:
        VirError: SYSTEM_ERROR: it has its temporary name still.
    """
    try:
        publish(target.temporary, target.path)
    except OSError as error:
        detail = (
            f"the snapshot's disks are made, and its memory is in '{target.temporary}', which "
            f"cannot be renamed to '{target.path}': {error.strerror or error}"
        )
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1
        ) from error
