"""virDomainCoreDump in the worker: pause the guest, write its dump, let it go on or end it.

Owns: that order. May touch: the guest; the dump's file.
Source: libvirt 9.0, qemuDomainCoreDumpWithFormat, doCoreDump.
"""

from __future__ import annotations

import asyncio
import logging

from rpc.enums import DomainCoreDumpFlags as Flags
from rpc.enums import DomainCoreDumpFormat as Format
from rpc.enums import DomainShutoffReason, DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.save_image import Compression
from supervisor.messages.worker import Dump
from supervisor.objects.domain_status_xml import MemoryFile
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.lifecycle.commands import stop_vcpus
from supervisor.workers.qemu.lifecycle.stop import end_guest
from supervisor.workers.qemu.migration.dump_stream import dump_to_fd
from supervisor.workers.qemu.migration.file_stream import Produce, write_to_file
from supervisor.workers.qemu.migration.guest_job import (
    NAMES,
    guest_job,
    record_file,
    refuse_aborted,
    report,
)
from supervisor.workers.qemu.migration.packing import NOT_PACKED, Packing, find_packing
from supervisor.workers.qemu.migration.resume import resume_after_job
from supervisor.workers.qemu.migration.stream import migrate_to_fd
from supervisor.workers.qemu.migration.target_file import discard, open_target, plan_target, publish
from supervisor.workers.state_table import Trigger

log = logging.getLogger(__name__)


async def dump(guest: Guest, request: Dump) -> None:
    """Dump a guest.

    Raises:
        VirError: as `Dump`.
    """
    async with guest_job(guest, request.job, abortable=not request.flags & Flags.MEMORY_ONLY):
        await _dump_and_go_on(guest, request)
        if not request.flags & Flags.CRASH:
            return
        await end_guest(guest, DomainShutoffReason.CRASHED)


async def _dump_and_go_on(guest: Guest, request: Dump) -> None:
    """Write the dump, and let the guest go on unless it is to be ended."""
    ran = guest.state is DomainState.RUNNING
    written = False
    try:
        await write_dump(guest, request, resume=ran)
        written = True
        if request.flags & Flags.RESET:
            await guest.monitor.execute("system_reset")
    finally:
        goes_on = not (written and request.flags & Flags.CRASH)
        if ran and goes_on and not guest.process.exited:
            await resume_after_job(guest, Trigger.RESUMED)


async def write_dump(guest: Guest, request: Dump, *, resume: bool) -> None:
    """Write a dump, or leave the file as it was; the vCPUs may be stopped afterwards.

    Args:
        guest: which has the job by now.
        request: the dump.
        resume: the vCPUs ran when the job began: a worker that takes the guest over starts them.

    Raises:
        VirError: as `Dump`.
    """
    produce, packing = _plan(guest, request)
    direct = bool(request.flags & Flags.BYPASS_CACHE)
    target = await asyncio.to_thread(plan_target, request.path)
    published = False
    try:
        file = MemoryFile(path=target.path, temporary=target.temporary, resume=resume)
        record_file(guest, file)
        await asyncio.to_thread(open_target, target, request.path, direct=direct)
        if resume and not request.flags & Flags.LIVE:
            await stop_vcpus(guest, Trigger.STOPPED_TO_DUMP)
        elif resume:
            guest.stop_cause = Trigger.STOPPED_TO_DUMP  # QEMU stops them itself at the end
        await write_to_file(guest, target, b"", packing, produce)
        refuse_aborted(guest)
        await asyncio.to_thread(publish, target.temporary, target.path)
        published = True
    except OSError as error:
        detail = f"unable to close file {request.path}: {error.strerror or error}"
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1
        ) from error
    finally:
        guest.stop_cause = Trigger.STOPPED
        target.close()
        if not published:
            discard(target.temporary)


def _plan(guest: Guest, request: Dump) -> tuple[Produce, Packing]:
    """Choose how QEMU writes the dump, and how it is packed.

    Raises:
        VirError: INVALID_ARG, OPERATION_UNSUPPORTED: of the format.
    """
    if request.format not in set(Format):
        detail = f"unknown dumpformat '{request.format}'"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
    dump_format = Format(request.format)
    if request.flags & Flags.MEMORY_ONLY:
        # A dump has a format of its own: dump_image_format is for the stream alone.
        return lambda fd: dump_to_fd(
            guest, fd, dump_format, lambda progress: report(guest, progress)
        ), NOT_PACKED
    if dump_format is not Format.RAW:
        detail = "kdump-compressed format is only supported with memory-only dump"
        raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.QEMU)
    name = NAMES[request.job.job]
    try:
        packing = find_packing(Compression(request.compression), "dump")
    except VirError as error:  # libvirt writes it unpacked rather than none
        log.warning("%s", error.detail)
        packing = NOT_PACKED
    return lambda fd: migrate_to_fd(
        guest, fd, name, lambda progress: report(guest, progress)
    ), packing
