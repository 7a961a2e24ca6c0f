"""virDomainSave in the worker: pause the guest, write its image, end it; or let it go on.

Owns: that order. May touch: the guest; the image.
Source: libvirt 9.0, qemuDomainSaveInternal. Unlike there, the file is opened before the guest is
paused: a path that does not exist does not interrupt it.
"""

from __future__ import annotations

import asyncio
import logging
import os

from rpc.enums import DomainShutoffReason, DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.save_image import Compression, SaveData, new_image
from supervisor.messages.worker import Save
from supervisor.objects.domain_status_xml import MemoryFile
from supervisor.objects.job import AsyncJob, JobRecord
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.lifecycle.commands import stop_vcpus
from supervisor.workers.qemu.lifecycle.stop import end_guest
from supervisor.workers.qemu.migration.active_nodes import refuse_block_jobs
from supervisor.workers.qemu.migration.dump_stream import wait_no_dump
from supervisor.workers.qemu.migration.file_stream import write_to_file
from supervisor.workers.qemu.migration.guest_job import (
    NAMES,
    end_job,
    guest_job,
    record_file,
    refuse_aborted,
    report,
)
from supervisor.workers.qemu.migration.memory_files import end_file
from supervisor.workers.qemu.migration.packing import Packing, find_packing
from supervisor.workers.qemu.migration.resume import resume_after_job
from supervisor.workers.qemu.migration.stream import end_migration, migrate_to_fd
from supervisor.workers.qemu.migration.target_file import (
    TargetFile,
    discard,
    open_target,
    plan_target,
    publish,
)
from supervisor.workers.state_table import Trigger

log = logging.getLogger(__name__)


async def save(guest: Guest, request: Save) -> None:
    """Save a guest and end it; if that fails it goes on.

    Raises:
        VirError: as `Save`.
    """
    async with guest_job(guest, request.job):
        await refuse_block_jobs(guest)
        compression = Compression(request.compression)
        packing = find_packing(compression, "save")
        target = await asyncio.to_thread(plan_target, request.path)
        resume = guest.state is DomainState.RUNNING
        running = resume if request.running is None else request.running
        image = new_image(
            request.xml, was_running=running, compression=compression, cookie=request.cookie
        )
        file = MemoryFile(path=target.path, temporary=target.temporary, resume=resume)
        try:
            record_file(guest, file)
            direct = request.bypass_cache
            await asyncio.to_thread(open_target, target, request.path, direct=direct)
            await _write(guest, request, target, image, packing)
        finally:
            target.close()
            if not file.complete:
                discard(target.temporary)
        await end_guest(guest, DomainShutoffReason.SAVED)


async def _write(
    guest: Guest, request: Save, target: TargetFile, image: SaveData, packing: Packing
) -> None:
    """Pause the guest and write the image; if that fails the guest is as before."""
    file = guest.status.memory_file
    assert file is not None, "the job has it"
    try:
        if file.resume:
            await stop_vcpus(guest, Trigger.STOPPED_TO_SAVE)
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
    except BaseException:
        if file.resume and not guest.process.exited:
            await resume_after_job(guest, Trigger.SAVE_CANCELED)
        raise
    # From here on the image counts: a guest that went on would not fit it any more.
    file.complete = True
    guest.status.ending = DomainShutoffReason.SAVED
    if not guest.process.exited:  # its stream was whole before; its status file is gone
        guest.save()
    try:
        await asyncio.to_thread(publish, target.temporary, target.path)
    except OSError as error:
        file.complete, guest.status.ending = False, 0
        if file.resume:
            await resume_after_job(guest, Trigger.SAVE_CANCELED)
        detail = f"Failed to create file '{request.path}': {error.strerror or error}"
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1
        ) from error


def complete(target: TargetFile, image: SaveData) -> None:
    """Mark the image as whole, on disk.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    try:
        target.leave_direct()
        os.pwrite(target.fd, image.header.encode(complete=True), 0)
        os.fsync(target.fd)
    except OSError as error:
        detail = f"failed to write header to domain save file '{target.path}': {error.strerror}"
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1
        ) from error


def is_ours(job: JobRecord | None) -> bool:
    """Return whether a job is one that this package does, and ends with its worker."""
    return job is not None and job.job in NAMES


async def end_interrupted(guest: Guest) -> None:
    """End the job that a previous worker did not finish: forward if its image is complete."""
    job, file = guest.status.job, guest.status.memory_file
    assert job is not None, "a file is a job's"
    log.warning("%s: job '%s' was interrupted", guest.name, job.job.value)
    if file is None:  # it had done nothing yet
        end_job(guest)
        return
    if file.complete and job.job is AsyncJob.SAVE:
        await asyncio.to_thread(end_file, file)
        await end_guest(guest, DomainShutoffReason.SAVED)
        return
    try:
        await end_migration(guest)
        await wait_no_dump(guest)
    finally:
        await asyncio.to_thread(end_file, file)
        end_job(guest)
        if file.resume:
            saving = job.job is AsyncJob.SAVE
            await resume_after_job(guest, Trigger.SAVE_CANCELED if saving else Trigger.RESUMED)
