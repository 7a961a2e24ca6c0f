"""What the end of a block job makes of a guest's disks, and taking jobs over from another worker.

Owns: the transitions of a chain when a job has ended; both events that clients get.
May touch: QEMU, by QMP; images that a commit was to delete.
Source: libvirt 9.0, qemuBlockJobEventProcessConcludedTransition and its callees.

The record has how a job has ended before QEMU forgets it, and is there until its end is in the live
XML: that, the change for the definition and the removal of the record are one write of the status
file. A worker that dies before finds the job in QEMU, or its end in the record.

QEMU 7.2 crashes when its nodes are queried while a concluded pull is not dismissed, so that comes
first, and does not wait for the device lock.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers, local_path
from rpc.enums import ConnectDomainEventBlockJobStatus as JobStatus
from rpc.enums import DomainEventID
from rpc.errors import VirError
from supervisor.dispatch.events import encode_event
from supervisor.objects.block_job import (
    JOB_TYPES,
    BlockJobKind,
    BlockJobRecord,
    BlockJobState,
)
from supervisor.workers.qemu.block import job_bitmaps
from supervisor.workers.qemu.block.backup_ends import end_disk
from supervisor.workers.qemu.block.image_nodes import remove_images
from supervisor.workers.qemu.block.job_commands import QemuJob, dismiss, query_jobs
from supervisor.workers.qemu.block.job_pivots import cancel, pivot_by_itself
from supervisor.workers.qemu.block.job_waits import CONCLUDED, JobEnd
from supervisor.workers.qemu.block.live_disks import change_chain
from supervisor.workers.qemu.block.mirrors import mirror_layers, store_ends
from supervisor.workers.qemu.block.new_files import remove_file
from supervisor.workers.qemu.block.reopening import end_writing
from supervisor.workers.qemu.disk_locks.locks import unlock_lower
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.detach import collect
from supervisor.workers.qemu.hotplug.file_owners import restore_file_owners

RETRY_S: Final = 2.0  # until a QEMU that hangs is asked again
NO_JOB: Final = "QEMU has no such job any more"
OURS: Final = ("pull-", "commit-", "copy-", "create-", "backup-")  # the beginnings of our jobs' ids

log = logging.getLogger(__name__)


def on_job_status(guest: Guest, job: str, status: str) -> None:
    """Handle JOB_STATUS_CHANGE."""
    guest.job_waits.on_status(job, status)
    if status in ("ready", CONCLUDED) and any(item.id == job for item in guest.status.block_jobs):
        guest.run(_advance(guest, job, status))


async def _advance(guest: Guest, job: str, status: str) -> None:
    record = _record(guest, job)
    if status == CONCLUDED and record is not None and record.kind is not BlockJobKind.BACKUP:
        await _conclude(guest, record)
    async with guest.device_lock:
        record = _record(guest, job)
        if record is None:
            return
        if status == "ready":
            _set_ready(guest, record)
        elif record.kind is BlockJobKind.BACKUP:
            await _conclude_backup(guest, record)
        else:
            await _finish(guest, record)


def _record(guest: Guest, job: str) -> BlockJobRecord | None:
    return next((item for item in guest.status.block_jobs if item.id == job), None)


def _set_ready(guest: Guest, record: BlockJobRecord) -> None:
    if record.state not in (BlockJobState.NEW, BlockJobState.RUNNING):
        return
    record.state = BlockJobState.READY
    disk = _disk(guest, record)
    if disk is not None and disk.mirror is not None:
        disk.mirror.ready = "yes"
    guest.update_and_publish()
    _publish(guest, record, disk, JobStatus.READY)
    if record.pivots:
        guest.run(pivot_by_itself(guest, record))


def _disk(guest: Guest, record: BlockJobRecord) -> Disk | None:
    disks = guest.domain.devices.disks
    return next((disk for disk in disks if disk.target.dev == record.target), None)


async def _conclude(guest: Guest, record: BlockJobRecord) -> None:
    """Record how QEMU has concluded a job, and have it forget the job.

    Raises:
        VirError: QEMU does not reply; the job is looked at again when it does.
    """
    if record.error is None:
        found = (await query_jobs(guest)).get(record.id)
        record.error = found.error if found is not None else NO_JOB
        guest.save()
    await dismiss(guest, record.id)


async def _conclude_backup(guest: Guest, record: BlockJobRecord) -> None:
    found = (await query_jobs(guest)).get(record.id)
    await _finish_backup(guest, record, found.error if found is not None else NO_JOB, found)


async def _finish(guest: Guest, record: BlockJobRecord) -> None:
    error = record.error or ""
    outcome = JobStatus.FAILED if error else JobStatus.COMPLETED
    if record.state is BlockJobState.ABORTING:
        outcome = JobStatus.CANCELED
    disk = _disk(guest, record)
    gone: list[Layer] = []
    is_written = True
    if disk is not None:
        done = outcome is JobStatus.COMPLETED
        await job_bitmaps.after_job(guest, disk, record, done=done)
        gone = _change_disk(guest, disk, record, done=done)
        is_written = await _end_writing(guest, disk, record)
    forget_job(guest, record)
    guest.update_and_publish()
    log.info("%s: block job %s: %s %s", guest.name, record.id, outcome.name.lower(), error)
    await remove_images(guest, gone)
    for layer in gone:
        await restore_file_owners(guest, Disk(type=layer.type, source=layer.source))
        path = local_path(layer.source)
        deletes = record.delete and outcome is JobStatus.COMPLETED and is_written
        if deletes and layer.type == "file" and path:
            remove_file(path)
    if disk is not None:
        await unlock_lower(guest, [disk])
    _publish(guest, record, disk, outcome)
    guest.job_waits.ended(record.id, JobEnd(outcome, error))


async def _end_writing(guest: Guest, disk: Disk, record: BlockJobRecord) -> bool:
    """Have the base of a commit be only read again, before what it was committed from is removed.

    Returns:
        Whether its file has all that was committed, as far as is known.
    """
    commits = (BlockJobKind.COMMIT, BlockJobKind.ACTIVE_COMMIT)
    place = _place(layers(disk), record.base) if record.kind in commits else None
    return await end_writing(guest, disk, place) if place else True  # 0: it is the top one now


async def _finish_backup(
    guest: Guest, record: BlockJobRecord, error: str, found: QemuJob | None
) -> None:
    outcome = await end_disk(guest, record, found, error)
    _publish(guest, record, _disk(guest, record), outcome)
    guest.job_waits.ended(record.id, JobEnd(outcome, error))


def _change_disk(guest: Guest, disk: Disk, record: BlockJobRecord, *, done: bool) -> list[Layer]:
    """Change the live model as a job's end has changed QEMU; the images that are used no more."""
    chain = layers(disk)
    if not done:
        mirror = mirror_layers(disk) if record.kind is BlockJobKind.COPY else []
        disk.mirror = None
        return [layer for layer in mirror if layer.index not in {item.index for item in chain}]
    match record.kind:
        case BlockJobKind.PULL:
            return _after_pull(guest, disk, chain, record)
        case BlockJobKind.COMMIT | BlockJobKind.ACTIVE_COMMIT:
            return _after_commit(guest, disk, chain, record)
        case BlockJobKind.COPY:
            return _after_copy(guest, disk, chain, record)
        case BlockJobKind.BACKUP:
            return []  # the guest's images stay as they are


def _place(chain: list[Layer], index: int | None) -> int | None:
    return next((place for place, layer in enumerate(chain) if layer.index == index), None)


def _after_pull(
    guest: Guest, disk: Disk, chain: list[Layer], record: BlockJobRecord
) -> list[Layer]:
    base = len(chain) if record.base is None else _place(chain, record.base)
    if base is None:
        return []
    ends = disk.chain_ends() or record.base is None
    change_chain(guest, disk, [chain[0], *chain[base:]], terminated=ends)
    return chain[1:base]


def _after_commit(
    guest: Guest, disk: Disk, chain: list[Layer], record: BlockJobRecord
) -> list[Layer]:
    top, base = _place(chain, record.top), _place(chain, record.base)
    if top is None or base is None:
        return []
    change_chain(guest, disk, [*chain[:top], *chain[base:]], terminated=disk.chain_ends())
    disk.mirror = None
    return chain[top:base]


def _after_copy(
    guest: Guest, disk: Disk, chain: list[Layer], record: BlockJobRecord
) -> list[Layer]:
    """Put the copy in the disk's place: the guest has pivoted to it."""
    mirror = disk.mirror
    copied = mirror_layers(disk)
    if mirror is None or not copied:
        return []
    ends = store_ends(mirror.backing_store)
    if record.shallow and len(copied) == 1 and not ends:
        copied, ends = [*copied, *chain[1:]], disk.chain_ends()  # the chain below is shared
    disk.mirror = None
    change_chain(guest, disk, copied, terminated=ends)
    stays = {layer.index for layer in copied}
    return [layer for layer in chain if layer.index not in stays]


def forget_job(guest: Guest, record: BlockJobRecord) -> None:
    """Remove a job's record, and the <mirror> of one that has ended; the caller writes the file."""
    guest.status.block_jobs = [item for item in guest.status.block_jobs if item is not record]
    disk = _disk(guest, record)
    if disk is not None:
        disk.mirror = None


def _publish(guest: Guest, record: BlockJobRecord, disk: Disk | None, status: JobStatus) -> None:
    """Publish both events: by the image's path, and by the disk's target."""
    kind = JOB_TYPES[record.kind]
    path = local_path(disk.source) if disk is not None and disk.source is not None else None
    if path:
        guest.publish_event(DomainEventID.BLOCK_JOB, guest.identity, path, kind, status)
    fields = (guest.identity, record.target, kind, status)
    payload = encode_event("domain_event_block_job_2", *fields)
    guest.context.forward_event("domain", DomainEventID.BLOCK_JOB_2, guest.uuid, payload)


async def conclude_ended(guest: Guest) -> None:
    """Have QEMU forget the jobs that ended while no worker was there, before its nodes are queried.

    Raises:
        VirError: QEMU does not reply.
    """
    records = [one for one in guest.status.block_jobs if one.kind is not BlockJobKind.BACKUP]
    if not records:
        return
    jobs = await query_jobs(guest)
    for record in records:
        job = jobs.get(record.id)
        if job is not None and job.status == CONCLUDED:
            await _conclude(guest, record)


async def resume_jobs(guest: Guest) -> None:
    """Take over the block jobs of a previous worker: those that go on, and those that ended."""
    if not guest.status.block_jobs:
        return
    jobs = await query_jobs(guest)
    async with guest.device_lock:
        for record in list(guest.status.block_jobs):
            await _resume(guest, record, jobs.get(record.id))
        known = {record.id for record in guest.status.block_jobs}
        for job in jobs.values():
            if job.id.startswith(OURS) and job.id not in known and job.status == CONCLUDED:
                await dismiss(guest, job.id)
        await collect(guest)


async def settle_unanswered(guest: Guest) -> None:
    """Find out what became of a command that QEMU has not replied to, as soon as it replies.

    A job that nobody knows of would keep the guest from being saved: its nodes stay active.
    """
    while guest.is_connected:  # a connection that is lost is made again, and then all is found out
        try:
            await resume_jobs(guest)
        except VirError as error:
            log.info("%s: QEMU's jobs are not known: %s", guest.name, error)
            await asyncio.sleep(RETRY_S)
        else:
            return


async def _resume(guest: Guest, record: BlockJobRecord, job: QemuJob | None) -> None:
    if job is None:
        await _resume_lost(guest, record)
    elif job.status == CONCLUDED and record.kind is BlockJobKind.BACKUP:
        await _conclude_backup(guest, record)
    elif job.status == CONCLUDED:  # since `conclude_ended`
        await _conclude(guest, record)
        await _finish(guest, record)
    elif job.status == "ready" and record.state in (BlockJobState.NEW, BlockJobState.RUNNING):
        _set_ready(guest, record)
    elif record.state is BlockJobState.ABORTING and record.kind is not BlockJobKind.BACKUP:
        await cancel(guest, record)  # QEMU may not have been asked yet
    elif job.status == "ready" and (record.pivots or record.state is BlockJobState.PIVOTING):
        record.state = BlockJobState.READY
        guest.run(pivot_by_itself(guest, record))
    elif record.state is BlockJobState.NEW:
        record.state = BlockJobState.RUNNING
        guest.update_and_publish()


async def _resume_lost(guest: Guest, record: BlockJobRecord) -> None:
    if record.state is BlockJobState.NEW and record.error is None:
        log.info("%s: block job %s was never begun", guest.name, record.id)
        if record.created:
            remove_file(record.created)
        forget_job(guest, record)
        guest.update_and_publish()
        return
    if record.kind is BlockJobKind.BACKUP:
        await _finish_backup(guest, record, "QEMU has lost it", None)
        return
    record.error = record.error if record.error is not None else "QEMU has lost it"
    await _finish(guest, record)
