"""A guest's job in its worker: recorded in the status file, reported to domd, aborted.

Owns: `Status.job` and `Status.memory_file`. May touch: the status file; domd, by events.
Source: libvirt 9.0, qemuMigrationJobName: the names of jobs in errors.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker import JobProgressed
from supervisor.objects.domain_status_xml import MemoryFile
from supervisor.objects.job import AsyncJob, JobProgress, JobRecord
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.stats.domain_stats import learn_stats

NAMES = {
    AsyncJob.SAVE: "domain save",
    AsyncJob.DUMP: "domain core dump",
    AsyncJob.SNAPSHOT: "snapshot",
}


@asynccontextmanager
async def guest_job(
    guest: Guest, record: JobRecord, *, abortable: bool = True
) -> AsyncIterator[None]:
    """Have a job while the body runs; a worker that takes the guest over finds it.

    Args:
        guest: which has no other one.
        record: of the job.
        abortable: QEMU can cancel it.

    Raises:
        VirError: OPERATION_INVALID: it has another job.
    """
    status = guest.status
    if status.job is not None:
        detail = f"'{guest.name}' has job '{status.job.job.value}' of {status.job.owner} already"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
    status.job, guest.job_aborted = record, asyncio.Event()
    guest.job_abortable = abortable
    guest.save()
    guest.publish_status()
    try:
        await learn_stats(guest)
        yield
    finally:
        end_job(guest)


def record_file(guest: Guest, file: MemoryFile) -> None:
    """Record the file that the job writes, for a worker that takes the guest over."""
    file.writer = os.getpid()
    guest.status.memory_file = file
    guest.save()


async def abort_job(guest: Guest) -> None:
    """Cancel the guest's job, which ends as soon as QEMU has cancelled its migration.

    Raises:
        VirError: OPERATION_INVALID: there is none, or it cannot be cancelled; QEMU does not reply.
    """
    if guest.status.job is None:
        detail = "no job is active on the domain"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
    if not guest.job_abortable:
        detail = "cannot abort memory-only dump"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
    guest.job_aborted.set()
    await guest.monitor.execute("migrate_cancel")


def refuse_aborted(guest: Guest) -> None:
    """End a job that a client has aborted.

    Raises:
        VirError: OPERATION_ABORTED.
    """
    if guest.job_aborted.is_set():
        job = guest.status.job
        name = NAMES.get(job.job, job.job.value) if job is not None else "job"
        detail = f"job '{name}' canceled by client"
        raise VirError(ErrorCode.OPERATION_ABORTED, detail, ErrorDomain.QEMU)


def end_job(guest: Guest) -> None:
    """Record that the guest has no job any more."""
    guest.status.job = guest.status.memory_file = None
    if not guest.process.exited:
        guest.save()
        guest.publish_status()


def report(guest: Guest, progress: JobProgress) -> None:
    """Tell domd how far the guest's job is."""
    guest.context.publish(JobProgressed(uuid=guest.uuid, progress=progress))
