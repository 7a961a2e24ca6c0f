"""Reconnects to a domain that another worker started, or cleans up after it.

Owns: the order of that. May touch: the QEMU process and its monitor; files that it left.
May not touch: a domain that another worker drives (this one holds the lock by now).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rpc.enums import (
    ConnectDomainEventAgentLifecycleReason,
    DomainShutoffReason,
    DomainState,
)
from supervisor.objects.domain_status_xml import Status, find_status
from supervisor.objects.job import AsyncJob
from supervisor.runtime.pidfd import GuestProcess, ProcessIdentity
from supervisor.workers.cgroups.scope_names import unit_of
from supervisor.workers.cgroups.scopes import keep_registered
from supervisor.workers.context import WorkerContext
from supervisor.workers.file_owners import restore
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.block.backups import resume_backup
from supervisor.workers.qemu.block.internal_snapshots import resume_after_job
from supervisor.workers.qemu.block.job_commands import end_create_jobs
from supervisor.workers.qemu.block.job_ends import conclude_ended, resume_jobs
from supervisor.workers.qemu.block.overlays import settle_overlays
from supervisor.workers.qemu.cgroup.placement import named_scope
from supervisor.workers.qemu.disk_locks import locks
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.handover import inherit
from supervisor.workers.qemu.lifecycle.run_states import reconcile
from supervisor.workers.qemu.lifecycle.stop import clean_up, stop_process
from supervisor.workers.qemu.migration.save import end_interrupted, is_ours
from supervisor.workers.qemu.perf import restore_events
from supervisor.workers.qemu.qmp.events import handle_event, resume_lifecycle_action
from supervisor.workers.qemu.qmp.monitor import Monitor
from supervisor.workers.qemu.qmp.replies import ChardevInfo, StatusInfo
from supervisor.workers.qemu.start.follow_resources import follow_resources
from supervisor.workers.qemu.start.monitor_setup import (
    are_recorded,
    fill_chardevs,
    query_chardevs,
)
from supervisor.workers.qemu.start.restore import run_loaded
from supervisor.workers.qemu.start.take_over import take_over

CONNECT_S: Final = 2.0  # for a QEMU that hangs: the worker is ready after it all the same
END_S: Final = 5.0

log = logging.getLogger(__name__)


async def reconnect(context: WorkerContext, name: str) -> Guest | Status | None:
    """Reconnect to the domain that the status XML describes.

    Returns:
        The running domain; the status of one that has ended, cleaned up but for its status XML;
        or None: there is no status XML.
    """
    stored = find_status(context.paths.status(name))
    if stored is None:
        if context.paths.status(name).exists():  # of a guest that only another daemon can drive
            return None
        # A worker may have died at a start before it wrote a status: files are the guest's yet.
        await restore(context.previous_owners.own(), context.previous_owners)
        return None
    status, xml = stored
    inheritance = context.process.inherited
    if inheritance is not None and status.pid:
        identity = ProcessIdentity(status.pid, status.start, status.boot)
        inherited = GuestProcess.inherit(identity, inheritance.process.take())
        guest = Guest(context, xml, status, inherited)
        watch(guest)
        inherit(guest, inheritance)
        return guest
    if status.foreign:
        await take_over(context, status, xml)
    process = _find_process(context, status)
    if process is None or status.pid == 0:
        if process is not None:
            process.send_signal(signal.SIGKILL)
            await process.wait_exit(END_S)
        await clean_up(context, status, xml)
        return status
    guest = Guest(context, xml, status, process)
    await _connect(guest)
    if process.exited:  # it was ending when it was found: the kernel unmounts its /dev first
        guest.close()
        await clean_up(context, status, xml)
        return status
    await context.hooks.notify(name, "reconnect", xml, sub="begin")
    if unit_of(status.cgroup):
        guest.run(keep_registered(named_scope(status.name, status.id, status.uuid), process.pid))
    return guest


def _find_process(context: WorkerContext, status: Status) -> GuestProcess | None:
    """Find the QEMU process.

    A worker that died between the spawn and the next status XML has recorded no pid: its QEMU is
    found by HOME=, which is the domain's private directory.
    """
    if status.pid:
        return GuestProcess.reopen(ProcessIdentity(status.pid, status.start, status.boot))
    domain_dir = context.paths.domain_dir(status.id, status.name)
    mark = b"HOME=" + os.fsencode(domain_dir)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in environ:
            return GuestProcess.open_child(int(entry.name))
    return None


def watch(guest: Guest) -> None:
    """Handle QEMU's events, and query what was missed after each loss of the monitor."""
    guest.handle_events(lambda message: handle_event(guest, message))
    guest.on_reconnect = lambda monitor: refresh_state(guest, monitor)


async def _connect(guest: Guest) -> None:
    """Connect to the monitor; if QEMU hangs, go on and connect when it answers."""
    watch(guest)
    restore_events(guest)
    connecting = guest.reconnect()
    await asyncio.wait({connecting}, timeout=CONNECT_S)
    if not guest.is_connected:
        log.warning("%s: QEMU does not answer; its last known state is kept", guest.name)


async def refresh_state(guest: Guest, monitor: Monitor) -> None:
    """Query the state of QEMU, for the events that were missed."""
    answer = await monitor.query("query-status", StatusInfo)
    trigger = reconcile(guest.state, answer.status)
    if locks.is_enabled(guest.context.config):
        guest.run(locks.restore_locks(guest))
    if guest.status.memory_file is not None or is_ours(guest.status.job):
        guest.run(_end_interrupted(guest))
        return
    if guest.status.loaded is not None:
        guest.run(_finish_restore(guest))
        return
    if guest.status.ending:
        guest.run(_resume_stop(guest))
        return
    if trigger is not None:
        guest.transition(trigger)
    if has_block_work(guest.status):
        guest.run(_resume_block_work(guest))
    else:
        guest.run(_end_create_jobs(guest))
    chardevs = await query_chardevs(monitor)
    # The model is parsed only for a change: it takes 2.7 MiB, and most workers never need it.
    if not are_recorded(chardevs, guest.live_xml):
        _refresh_chardevs(guest, chardevs)
    await follow_resources(guest, monitor)
    if guest.state in (DomainState.SHUTDOWN, DomainState.CRASHED):
        guest.run(resume_lifecycle_action(guest))


def has_block_work(status: Status) -> bool:
    """Return whether a previous worker had begun anything with the guest's images."""
    begun = status.overlays or status.block_jobs or status.resume_after_job
    is_backup = status.job is not None and status.job.job is AsyncJob.BACKUP
    return bool(begun) or is_backup or status.backup is not None


def _refresh_chardevs(guest: Guest, chardevs: Sequence[ChardevInfo]) -> None:
    had_agent = guest_agent.is_connected(guest)
    if fill_chardevs(guest.domain, chardevs):
        guest.update_and_publish()
        if guest_agent.is_connected(guest) != had_agent:
            guest_agent.publish_state(guest, ConnectDomainEventAgentLifecycleReason.CHANNEL)


async def _finish_restore(guest: Guest) -> None:
    """Let a restored guest run whose worker died just before that."""
    await run_loaded(guest)
    guest.publish_status()


async def _end_interrupted(guest: Guest) -> None:
    """End the previous worker's job with the guest's memory, and what it did to disks."""
    await conclude_ended(guest)
    async with guest.device_lock:
        file = guest.status.memory_file
        if await settle_overlays(guest) and file is not None:
            file.complete = True  # a snapshot's memory: overlays are begun once it is on disk
            guest.save()
    await end_interrupted(guest)
    if not guest.process.exited:
        await _resume_block_work(guest)


async def _end_create_jobs(guest: Guest) -> None:
    """End what the previous worker died over before it had recorded a block job."""
    async with guest.device_lock:
        await end_create_jobs(guest)


async def _resume_block_work(guest: Guest) -> None:
    """Find out what became of a snapshot and of block jobs that the previous worker had begun."""
    await conclude_ended(guest)
    async with guest.device_lock:
        await settle_overlays(guest)
        await resume_backup(guest)
    await resume_jobs(guest)
    await resume_after_job(guest)


async def _resume_stop(guest: Guest) -> None:
    """Finish stopping a QEMU that the previous worker was stopping."""
    reason = DomainShutoffReason(guest.status.ending)
    log.info("%s: stopping QEMU goes on (%s)", guest.name, reason.name.lower())
    await stop_process(guest, reason)
