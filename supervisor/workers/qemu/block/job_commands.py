"""QEMU's jobs by QMP: run one to its end, query and dismiss them.

Owns: those commands. May touch: QEMU, by QMP. May not touch: the live XML.
Source: QEMU 7.2, "QEMU QMP Reference Manual", jobs and block-core.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.block.job_waits import CONCLUDED
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.protocol import Arguments

CREATE: Final = "create-"  # begins the id of a job that makes an image
CANCEL_S: Final = 5.0  # for a job that took too long to end

log = logging.getLogger(__name__)


class QemuJob(msgspec.Struct, frozen=True, rename="kebab"):
    """One job of `query-jobs`."""

    id: str = ""
    status: str = ""
    current_progress: int = 0
    total_progress: int = 0
    error: str = ""


class QemuBlockJob(msgspec.Struct, frozen=True, rename="kebab"):
    """One job of `query-block-jobs`."""

    device: str = ""  # its id
    len: int = 0
    offset: int = 0
    speed: int = 0
    ready: bool = False


async def query_jobs(guest: Guest) -> dict[str, QemuJob]:
    """Return all jobs by their ids."""
    jobs = await guest.monitor.query("query-jobs", list[QemuJob])
    return {job.id: job for job in jobs}


async def dismiss(guest: Guest, job: str) -> None:
    """Have QEMU forget a concluded job; an error is logged."""
    try:
        await guest.monitor.execute("job-dismiss", {"id": job})
    except VirError as error:
        log.warning("%s: job %s is not dismissed: %s", guest.name, job, error)


async def run_job(
    guest: Guest, job: str, command: str, arguments: Arguments, *, timeout_s: float
) -> None:
    """Run a job to its end, and have QEMU forget it.

    Args:
        guest: the guest.
        job: the id that the job gets.
        command: starts the job.
        arguments: of the command, the id among them.
        timeout_s: for the whole job, which is cancelled then.

    Raises:
        QmpError: QEMU refuses the command.
        VirError: INTERNAL_ERROR: the job failed; OPERATION_TIMEOUT.
    """
    concluded = guest.job_waits.expect(job)
    try:
        # QEMU answers nothing while it derives the key of an encrypted image.
        await guest.monitor.execute(command, arguments, timeout_s=timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                await concluded.wait()
        except TimeoutError:
            await _cancel(guest, job, concluded)
            detail = f"job '{command}' of '{guest.name}' did not end in {timeout_s:.0f} s"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU) from None
        except asyncio.CancelledError:
            await _cancel(guest, job, concluded)
            raise
        # Together: QEMU executes them in this order, and each turn of a busy host counts.
        jobs, _ = await asyncio.gather(query_jobs(guest), dismiss(guest, job))
        found = jobs.get(job)
    finally:
        guest.job_waits.forget(job)
    if found is None or found.error:
        why = found.error if found is not None else "QEMU has lost it"
        detail = f"job '{command}' of '{guest.name}' failed: {why}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)


async def end_create_jobs(guest: Guest) -> None:
    """End the jobs by which a previous worker had images made."""
    for job in (await query_jobs(guest)).values():
        if not job.id.startswith(CREATE):
            continue
        concluded = guest.job_waits.expect(job.id)
        found = (await query_jobs(guest)).get(job.id)
        if found is not None and found.status != CONCLUDED:
            await _cancel(guest, job.id, concluded)
        elif found is not None:
            await dismiss(guest, job.id)
        guest.job_waits.forget(job.id)


async def _cancel(guest: Guest, job: str, concluded: asyncio.Event) -> None:
    try:
        await guest.monitor.execute("job-cancel", {"id": job})
        async with asyncio.timeout(CANCEL_S):
            await concluded.wait()
        await dismiss(guest, job)
    except (VirError, TimeoutError) as error:
        log.warning("%s: job %s cannot be cancelled: %s", guest.name, job, error)
