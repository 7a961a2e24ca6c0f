"""Have QEMU write its memory and devices to a descriptor, or read them from one.

Owns: the QMP commands of that, and the wait for their end.
May touch: QEMU, by QMP. May not touch: files; whether the vCPUs run is the caller's.
Source: QEMU 7.2, "migrate", "migrate-incoming", "query-migrate".

A save, a dump and a snapshot of memory are a migration to a file: all that differs is who holds
the descriptor's other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.job import JobProgress
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.migration.guest_job import refuse_aborted
from supervisor.workers.qemu.migration.progress import MigrationInfo, progress_of
from supervisor.workers.qemu.migration.watch import COMPLETED, ENDED
from supervisor.workers.qemu.qmp.monitor import Monitor

#: libvirt's QEMU_DOMAIN_MIG_BANDWIDTH_MAX: the disk sets the pace.
UNLIMITED: Final = 9223372036853727232
FOREVER_S: Final = 7 * 86400.0  # a job's own end comes before
MAX_REASON: Final = 1000  # characters of QEMU's error in ours
POLLS_S: Final = (0.02, 0.05, 0.1, 0.25)  # between two reports of progress; the last repeats
CANCEL_S: Final = 30.0  # for a cancelled migration to end
OUT: Final = "virtvisor-out"  # names of descriptors within QEMU
IN: Final = "virtvisor-in"

log = logging.getLogger(__name__)

OnProgress = Callable[[JobProgress], None]


class _Parameters(msgspec.Struct, frozen=True, rename="kebab"):
    max_bandwidth: int = 0


async def migrate_to_fd(guest: Guest, fd: int, job: str, on_progress: OnProgress) -> None:
    """Write the guest's state to a pipe or file; its vCPUs are stopped when it is complete.

    Cancelling the task cancels the migration, and waits for its end.

    Args:
        guest: running or, for a state of one moment, paused before.
        fd: where to; it stays the caller's, who closes it once this has returned.
        job: libvirt's name of the job, for errors: "domain save".
        on_progress: called some times a second, and once at the end.

    Raises:
        VirError: OPERATION_ABORTED: cancelled by a client; OPERATION_FAILED: QEMU failed;
            OPERATION_INVALID: a device of the guest cannot be migrated.
    """
    monitor = guest.monitor
    await _refuse_blocked(monitor)
    await enable_events(monitor)
    bandwidth = (await monitor.query("query-migrate-parameters", _Parameters)).max_bandwidth
    await monitor.execute("migrate-set-parameters", {"max-bandwidth": UNLIMITED})
    guest.migration.set("setup")
    try:
        await monitor.execute("getfd", {"fdname": OUT}, fd=fd)
        try:
            await monitor.execute("migrate", {"uri": f"fd:{OUT}"})
        except VirError:
            guest.migration.set("")
            with contextlib.suppress(VirError):
                await monitor.execute("closefd", {"fdname": OUT})
            raise
        refuse_aborted(guest)  # what was cancelled before it began is not
        await _wait_migrated(guest, job, on_progress)
    finally:
        await shielded(_cancel_and_reset(guest, bandwidth))


async def enable_events(monitor: Monitor) -> None:
    """Have QEMU send event MIGRATION at each step."""
    capability = {"capability": "events", "state": True}
    await monitor.execute("migrate-set-capabilities", {"capabilities": [capability]})


async def _refuse_blocked(monitor: Monitor) -> None:
    """Refuse to migrate a guest with a device that cannot be."""
    info = await monitor.query("query-migrate", MigrationInfo)
    if info.blocked_reasons:
        detail = f"cannot migrate domain: {'; '.join(info.blocked_reasons)[:MAX_REASON]}"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)


async def _wait_migrated(guest: Guest, job: str, on_progress: OnProgress) -> None:
    """Report progress until the migration has ended.

    Raises:
        VirError: it did not complete.
    """

    async def poll() -> Polled:
        info = await guest.monitor.query("query-migrate", MigrationInfo)
        return Polled(info.status, info.error_desc, progress_of(info))

    ended = await wait_outgoing(guest, poll, on_progress)
    if ended.status == COMPLETED:
        return
    refuse_aborted(guest)
    reason = f"failed: {ended.error[:MAX_REASON]}" if ended.error else "unexpectedly failed"
    raise VirError(ErrorCode.OPERATION_FAILED, f"job '{job}' {reason}", ErrorDomain.QEMU)


class Polled(NamedTuple):
    """What QEMU says of a migration or dump."""

    status: str
    error: str
    progress: JobProgress


async def wait_outgoing(
    guest: Guest, poll: Callable[[], Awaitable[Polled]], on_progress: OnProgress
) -> Polled:
    """Report progress until QEMU has written everything, or failed to.

    A QEMU that hangs is asked again: it is not known to have failed.

    Args:
        guest: whose `migration` is noted by events, too.
        poll: asks QEMU.
        on_progress: is told what it says.

    Raises:
        VirError: OPERATION_FAILED: QEMU has exited.
    """
    exited = asyncio.ensure_future(guest.process.wait_exit(FOREVER_S))
    pauses = itertools.chain(POLLS_S, itertools.repeat(POLLS_S[-1]))
    try:
        while True:
            ended = asyncio.ensure_future(guest.migration.wait_ended())
            try:
                await asyncio.wait(
                    {ended, exited}, timeout=next(pauses), return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                ended.cancel()
            if exited.done():
                detail = "domain is no longer running"
                raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
            try:
                polled = await poll()
            except VirError as error:
                log.info("%s: the progress of its job is not known: %s", guest.name, error)
                await asyncio.sleep(POLLS_S[-1])
                continue
            on_progress(polled.progress)
            if polled.status in ENDED:
                return polled
    finally:
        exited.cancel()


async def end_migration(guest: Guest) -> None:
    """Cancel a migration of which nothing is known, and wait until QEMU has none.

    Raises:
        VirError: QEMU does not reply; OPERATION_TIMEOUT: it does not cancel.
    """
    monitor = guest.monitor
    await monitor.execute("migrate_cancel")
    try:
        async with asyncio.timeout(CANCEL_S):
            while (await monitor.query("query-migrate", MigrationInfo)).status not in ENDED:  # noqa: ASYNC110
                # A predecessor's migration may send no events.
                await asyncio.sleep(0.02)
    except TimeoutError:
        detail = f"QEMU of '{guest.name}' does not cancel its migration"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU) from None


async def _cancel_and_reset(guest: Guest, bandwidth: int) -> None:
    """Leave QEMU as it was before the migration, which is cancelled if it has not ended."""
    if guest.process.exited:
        return
    try:
        if guest.migration.status not in ENDED:
            await end_migration(guest)
        guest.migration.set("")
        await guest.monitor.execute("migrate-set-parameters", {"max-bandwidth": bandwidth})
    except VirError as error:
        log.warning("%s: the migration cannot be undone: %s", guest.name, error)


async def shielded(work: Awaitable[None]) -> None:
    """Await work to its end, also when the caller is cancelled once more."""
    task = asyncio.ensure_future(work)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.shield(task)
    if not task.done():
        await asyncio.wait({task})


async def load_from_fd(guest: Guest, fd: int) -> None:
    """Have a QEMU that was started with `-incoming defer` read its state.

    Args:
        guest: whose monitor is connected and configured.
        fd: where from; it stays the caller's.

    Raises:
        VirError: OPERATION_FAILED: the stream is not this machine's, or is cut short. QEMU has
            exited, or is to be ended.
    """
    monitor = guest.monitor
    await enable_events(monitor)
    guest.migration.set("setup")
    await monitor.execute("getfd", {"fdname": IN}, fd=fd)
    await monitor.execute("migrate-incoming", {"uri": f"fd:{IN}"})
    ended = asyncio.ensure_future(guest.migration.wait_ended())
    exited = asyncio.ensure_future(guest.process.wait_exit(FOREVER_S))
    try:
        await asyncio.wait({ended, exited}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        exited.cancel()
    if guest.migration.status != COMPLETED:
        detail = "the saved state cannot be loaded"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
    guest.migration.set("")
