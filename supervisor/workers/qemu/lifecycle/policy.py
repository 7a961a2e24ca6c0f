"""Lifecycle actions: what the worker does when its guest powers off, reboots or crashes.

Owns: applying <on_poweroff>, <on_reboot>, <on_crash>. May touch: QEMU and its process.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from pathlib import Path
from typing import Final

from rpc.enums import (
    DomainCoreDumpFlags,
    DomainJobOperation,
    DomainShutoffReason,
    DomainState,
)
from rpc.errors import VirError
from supervisor.messages.worker import Dump
from supervisor.objects.job import AsyncJob, JobRecord
from supervisor.workers.lifecycle_actions import Action, LifecycleAction
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.lifecycle.stop import stop_process
from supervisor.workers.qemu.migration.dump import write_dump
from supervisor.workers.qemu.migration.guest_job import guest_job
from supervisor.workers.state_table import Trigger

RESET_S: Final = 10.0

log = logging.getLogger(__name__)


async def apply_action(guest: Guest, action: LifecycleAction, reason: DomainShutoffReason) -> None:
    """Apply a lifecycle action.

    Args:
        guest: a domain whose vCPUs are stopped.
        action: from its XML.
        reason: the shutoff reason, if QEMU is stopped.
    """
    log.info("%s: lifecycle action %s", guest.name, action.action)
    if action.dump and not await dump(guest):
        return
    if action.action is Action.PRESERVE:
        return
    if action.action is Action.RESTART:
        await fake_reboot(guest)
        return
    guest.status.restart = action.action is Action.RENAME_RESTART
    await stop_process(guest, reason)


async def fake_reboot(guest: Guest) -> None:
    """Reset the machine and start its vCPUs in the same QEMU; if that fails, stop QEMU.

    Raises:
        VirError: QEMU cannot be stopped either.
    """
    guest.status.fake_reboot = False
    crashed = guest.state is DomainState.CRASHED
    guest.resume_cause = Trigger.CRASH_LEFT if crashed else Trigger.RESUMED
    try:
        await guest.monitor.execute("system_reset", timeout_s=RESET_S)
        await guest.monitor.execute("cont", timeout_s=RESET_S)
    except VirError as error:
        log.error("%s cannot be reset; QEMU is stopped: %s", guest.name, error)
        crash, off = DomainShutoffReason.CRASHED, DomainShutoffReason.SHUTDOWN
        await stop_process(guest, crash if crashed else off)


async def dump(guest: Guest) -> bool:
    """Dump the guest's memory to auto_dump_path; a failure is logged.

    Returns:
        Whether it is there: without its dump a crashed guest stays as it is, as in libvirt.
    """
    config = guest.context.config
    folder = Path(config.auto_dump_path) if config.auto_dump_path else guest.context.paths.dumps()
    now = datetime.datetime.now(datetime.UTC).astimezone()
    path = folder / f"{guest.status.id}-{guest.name[:20]}-{now:%Y-%m-%d-%H:%M:%S}"
    flags = DomainCoreDumpFlags.MEMORY_ONLY
    if config.auto_dump_bypass_cache:
        flags |= DomainCoreDumpFlags.BYPASS_CACHE
    record = JobRecord(
        job=AsyncJob.DUMP,
        operation=DomainJobOperation.DUMP,
        started_at=time.time(),
        owner="the guest's crash",
    )
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        async with guest_job(guest, record, abortable=False):
            await write_dump(guest, Dump(job=record, path=str(path), flags=flags), resume=False)
    except (OSError, VirError) as error:
        log.error("memory of %s cannot be dumped to %s: %s", guest.name, path, error)
        return False
    return True
