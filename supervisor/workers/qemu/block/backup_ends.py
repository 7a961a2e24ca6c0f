"""The end of a backup: of each disk's job, of the whole, and after a process has died.

Owns: that nothing is left: jobs, exports, nodes, bitmaps, scratch images; `Status.backup_end`.
May touch: QEMU, by QMP; targets and scratch images that were made for the backup.
Source: libvirt 9.0, qemuBackupNotifyBlockjobEnd, qemuBackupJobTerminate.

The status file has what is to be removed until it is. Every step can be repeated.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import chain, repeat
from typing import Final

from conf.backup.model import read_backup
from conf.domain.devices.disk import Disk
from rpc.enums import ConnectDomainEventBlockJobStatus as JobStatus
from rpc.enums import DomainJobType, DomainPausedReason
from rpc.errors import VirError
from supervisor.objects.backup_job import (
    BackupEnd,
    BackupRecord,
    DiskState,
    outcome_state,
)
from supervisor.objects.block_job import BlockJobKind, BlockJobRecord, BlockJobState
from supervisor.workers.qemu.block import bitmaps
from supervisor.workers.qemu.block.backup_files import remove_files
from supervisor.workers.qemu.block.backup_plan import TLS_ID, TLS_SECRET_ID
from supervisor.workers.qemu.block.image_nodes import bitmaps_of, query_nodes, remove_images
from supervisor.workers.qemu.block.job_commands import (
    QemuJob,
    dismiss,
    end_create_jobs,
    query_jobs,
)
from supervisor.workers.qemu.block.job_waits import CONCLUDED
from supervisor.workers.qemu.block.nodes import layer_nodes
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.file_owners import restore_file_owners
from supervisor.workers.qemu.migration.resume import resume_after_job
from supervisor.workers.qemu.qmp.monitor import QmpError
from supervisor.workers.state_table import Trigger

PAUSES_S: Final = (0.5, 2.0, 10.0)  # between attempts, while QEMU hangs
CANCEL_S: Final = 20.0  # QEMU finishes the requests under way first
OUTCOMES: Final = {
    DiskState.COMPLETE: DomainJobType.COMPLETED,
    DiskState.FAILED: DomainJobType.FAILED,
    DiskState.CANCELLED: DomainJobType.CANCELLED,
}
STATES: Final = {
    JobStatus.COMPLETED: DiskState.COMPLETE,
    JobStatus.FAILED: DiskState.FAILED,
    JobStatus.CANCELED: DiskState.CANCELLED,
}

log = logging.getLogger(__name__)


async def abort_backup(guest: Guest) -> None:
    """Cancel what a backup still does; it has ended when its jobs have.

    Raises:
        VirError: QEMU does not reply.
    """
    for record in guest.status.block_jobs:
        if record.kind is BlockJobKind.BACKUP:
            previous, record.state = record.state, BlockJobState.ABORTING
            guest.save()
            try:
                await _cancel(guest, record.id)
            except VirError:
                record.state = previous
                guest.save()
                raise
    backup = guest.status.backup
    if backup is not None and backup.began and not _has_jobs(guest):
        await finish(guest)  # a previous worker died in the middle of its end


async def _cancel(guest: Guest, job: str) -> None:
    """Have QEMU cancel a job, which may have ended by itself at this moment.

    Raises:
        VirError: QEMU does not reply.
    """
    try:
        await guest.monitor.execute("job-cancel", {"id": job})
    except QmpError as error:
        log.info("%s: job %s is not cancelled: %s", guest.name, job, error)


def _has_jobs(guest: Guest) -> bool:
    return any(record.kind is BlockJobKind.BACKUP for record in guest.status.block_jobs)


def on_write_error(guest: Guest, alias: str, *, nospace: bool) -> None:
    """Fail the backup of a disk for which QEMU has stopped the guest.

    QEMU fails the guest's write where the old data cannot be kept, and stops the guest by its
    policy for such errors. Without the backup the write succeeds: QEMU does it again when the guest
    goes on. A disk whose own image is full stops the guest once more.

    Args:
        guest: the guest.
        alias: of the disk.
        nospace: the error was ENOSPC.
    """
    backup = guest.status.backup
    if backup is None or not backup.began:
        return
    disks = guest.domain.devices.disks
    target = next((disk.target.dev for disk in disks if disk.alias == alias), "")
    for disk in backup.disks:
        if disk.target == target and not disk.state.is_ended:
            disk.error = os.strerror(errno.ENOSPC if nospace else errno.EIO)
            backup.resume = True
            guest.save()
            log.warning("%s: the backup of %s fails: %s", guest.name, target, disk.error)
            guest.run(abort_backup(guest))
            return


async def end_disk(
    guest: Guest, record: BlockJobRecord, job: QemuJob | None, error: str
) -> JobStatus:
    """Record the end of one disk's job, and of the backup if it was the last.

    Args:
        guest: the guest; the caller holds its device lock.
        record: the job's, which is removed.
        job: what QEMU says of it; None: it does not know it any more.
        error: QEMU's.

    Returns:
        How the job has ended.
    """
    backup = guest.status.backup
    disk = backup.disk_of(record.id) if backup is not None else None
    outcome = JobStatus.COMPLETED
    if disk is not None and disk.error:
        outcome, error = JobStatus.FAILED, disk.error
    elif error:  # a job that had ended before it was to be aborted is complete
        is_aborted = record.state is BlockJobState.ABORTING
        outcome = JobStatus.CANCELED if is_aborted else JobStatus.FAILED
    log.info("%s: block job %s: %s %s", guest.name, record.id, outcome.name.lower(), error)
    if backup is not None and disk is not None:
        disk.state = STATES[outcome]
        backup.error = backup.error or error
        if job is not None:
            backup.done += job.current_progress
            backup.total += job.total_progress
    guest.status.block_jobs = [item for item in guest.status.block_jobs if item is not record]
    guest.save()
    await dismiss(guest, record.id)
    if backup is not None and backup.began:
        if backup.is_ended:
            await finish(guest)
        elif outcome is not JobStatus.COMPLETED:
            # One disk's backup without the others' is of no use.
            await abort_backup(guest)
    return outcome


async def finish(guest: Guest) -> None:
    """End a backup all of whose jobs have ended; in a QEMU that hangs, once it answers."""
    backup = guest.status.backup
    if backup is not None and not await _finish(guest, backup):
        guest.run(_repeat(guest, backup, _finish))


async def _finish(guest: Guest, backup: BackupRecord) -> bool:
    """Remove what an ended backup has in QEMU and record its end; whether that is done."""
    job = guest.status.job
    state = outcome_state([disk.state for disk in backup.disks], pull=backup.pull)
    try:
        await _remove_from_qemu(guest, backup)
    except VirError as error:
        log.warning("%s: the backup has not ended yet: %s", guest.name, error)
        return False
    keeps = backup.reuse or (state is DiskState.COMPLETE and not backup.pull)
    await asyncio.to_thread(remove_files, backup, keeps=keeps)
    started_at = job.started_at if job is not None else time.time()
    guest.status.backup_end = BackupEnd(
        started_at=started_at,
        elapsed_ms=max(0, int((time.time() - started_at) * 1000)),
        outcome=OUTCOMES[state],
        error=backup.error,
        done=backup.done,
        total=backup.total,
        pull=backup.pull,
    )
    guest.status.job = guest.status.backup = None
    guest.save()
    guest.publish_status()
    if backup.resume and guest.status.reason == DomainPausedReason.IOERROR:
        await resume_after_job(guest, Trigger.RESUMED)
    log.info("%s: the backup has ended: %s %s", guest.name, state, backup.error)
    return True


async def undo(guest: Guest) -> None:
    """Remove a backup that has not begun as a whole; from a QEMU that hangs, once it answers."""
    backup = guest.status.backup
    if backup is not None and not await _undo(guest, backup):
        guest.run(_repeat(guest, backup, _undo))


async def _repeat(
    guest: Guest, backup: BackupRecord, work: Callable[[Guest, BackupRecord], Awaitable[bool]]
) -> None:
    """Do something again and again until it succeeds: QEMU hangs."""
    for pause_s in chain(PAUSES_S, repeat(PAUSES_S[-1])):
        await asyncio.sleep(pause_s)
        async with guest.device_lock:
            if guest.status.backup is not backup or await work(guest, backup):
                return


async def _undo(guest: Guest, backup: BackupRecord) -> bool:
    """Remove what a backup has begun; whether QEMU has none of it any more."""
    try:
        await end_create_jobs(guest)  # a previous worker had an image made
        jobs = await query_jobs(guest)
        for disk in backup.disks:
            if (found := jobs.get(disk.job)) is not None:
                await _end_now(guest, found)
        await _remove_from_qemu(guest, backup, began=False)
    except (VirError, TimeoutError) as error:
        log.warning("%s: what is left of a backup is not removed yet: %s", guest.name, error)
        return False
    await asyncio.to_thread(remove_files, backup, keeps=backup.reuse)
    guest.status.block_jobs = [
        record for record in guest.status.block_jobs if record.kind is not BlockJobKind.BACKUP
    ]
    guest.status.job = guest.status.backup = None
    guest.save()
    guest.publish_status()
    return True


async def _end_now(guest: Guest, job: QemuJob) -> None:
    """Cancel a job and wait for its end."""
    if job.status != CONCLUDED:
        concluded = guest.job_waits.expect(job.id)
        try:
            await _cancel(guest, job.id)
            async with asyncio.timeout(CANCEL_S):
                await concluded.wait()
        finally:
            guest.job_waits.forget(job.id)
    await dismiss(guest, job.id)


async def _remove_from_qemu(guest: Guest, backup: BackupRecord, *, began: bool = True) -> None:
    """Remove exports, nodes, bitmaps and certificates, as far as they are there."""
    if backup.pull:
        await _try(guest, "nbd-server-stop", {})
    jobs = await query_jobs(guest)
    for disk in backup.disks:
        # Of one that a previous worker had recorded as ended, and died over.
        if disk.job in jobs and jobs[disk.job].status == CONCLUDED:
            await dismiss(guest, disk.job)
    found = await query_nodes(guest)
    layers = {item.name: item.layer for item in read_backup(backup.xml).selected}
    for disk in backup.disks:
        layer = layers[disk.target]
        nodes = layer_nodes(layer, read_only=False)
        if nodes.format_name in found or nodes.storage_name in found:
            await remove_images(guest, [layer])
        await restore_file_owners(guest, Disk(type=layer.type, source=layer.source))
    temporary = [(disk.node, disk.bitmap) for disk in backup.disks if disk.bitmap]
    await remove_bitmaps(guest, temporary if began else [*temporary, *backup.checkpoint])
    if backup.tls:
        await _try(guest, "object-del", {"id": TLS_ID})
        await _try(guest, "object-del", {"id": TLS_SECRET_ID})


async def remove_bitmaps(guest: Guest, unwanted: Iterable[tuple[str, str]]) -> None:
    """Remove those of some bitmaps, each given as its node and its name, that there are.

    Raises:
        VirError: QEMU refuses.
    """
    found = bitmaps_of(await query_nodes(guest))
    actions = [
        bitmaps.remove(node, name)
        for node, name in unwanted
        if bitmaps.bitmap_of(found, node, name) is not None
    ]
    if actions:
        await guest.monitor.execute("transaction", {"actions": actions})


async def _try(guest: Guest, command: str, arguments: dict[str, object]) -> None:
    try:
        await guest.monitor.execute(command, arguments)
    except QmpError as error:
        log.debug("%s: %s: %s", guest.name, command, error)
