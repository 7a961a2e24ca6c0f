"""Stops QEMU, and cleans up after it.

Owns: the signals, and what is removed. May touch: the QEMU process, the domain's files.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Final

from conf.domain import parse_domain
from rpc.enums import DomainShutoffReason
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.pidfd import GuestProcess
from supervisor.runtime.procfs import is_stopped
from supervisor.workers.cgroups.hierarchies import layout
from supervisor.workers.context import WorkerContext
from supervisor.workers.file_owners import restore
from supervisor.workers.interfaces import detach_port, has_netd_interfaces
from supervisor.workers.qemu import passthrough
from supervisor.workers.qemu.block.backup_files import clean_up_backup
from supervisor.workers.qemu.cgroup import placement
from supervisor.workers.qemu.cgroup.guest_cgroup import GuestCgroup
from supervisor.workers.qemu.external.pid_files import remove_pid_files
from supervisor.workers.qemu.external.processes import end_processes
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.listening_sockets import remove_sockets
from supervisor.workers.qemu.migration.memory_files import clean_up_memory
from supervisor.workers.qemu.outputs import output_sources
from supervisor.workers.qemu.resctrl.groups import remove_groups
from supervisor.workers.qemu.start import hugepages
from supervisor.workers.qemu.start.files import remove_directories

TERM_S: Final = 2.0  # QEMU flushes its caches and exits within this, if its disks answer
GRACEFUL_S: Final = 10.0
KILL_S: Final = 10.0
ENDED_S: Final = 30.0  # for the cleanup, mostly hook scripts
log = logging.getLogger(__name__)


async def stop_process(
    guest: Guest, reason: DomainShutoffReason, *, graceful: bool = False
) -> None:
    """Stop QEMU; its exit starts the cleanup.

    The shutoff reason is stored first: if this worker dies, the next one needs it.

    Raises:
        VirError: OPERATION_FAILED: QEMU ignores SIGTERM; SYSTEM_ERROR: it ignores SIGKILL.
    """
    previous = guest.status.ending
    guest.status.ending = previous or reason  # the first reason stays
    guest.save()
    process = guest.process
    if graceful:
        process.send_signal(signal.SIGTERM)
        if await process.wait_exit(GRACEFUL_S):
            return
        guest.status.ending = previous
        guest.save()
        detail = (
            f"Failed to terminate process {process.pid} of '{guest.name}' with SIGTERM in "
            f"{GRACEFUL_S:.0f} s; destroy it without the flag to kill it"
        )
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
    await _kill(guest.name, process)


async def end_guest(guest: Guest, reason: DomainShutoffReason) -> None:
    """Stop QEMU, unless it has exited by itself, and wait until it is cleaned up.

    Raises:
        VirError: as `stop_process`; TimeoutError: the hooks of its end take too long.
    """
    if not guest.process.exited:
        await stop_process(guest, reason)
    async with asyncio.timeout(ENDED_S):
        await guest.ended.wait()


async def _kill(name: str, process: GuestProcess) -> None:
    """Send SIGTERM, on which QEMU flushes its disk caches, then SIGKILL.

    A stopped process would handle SIGTERM only after SIGCONT: it is killed at once.
    """
    if not is_stopped(process.pid):
        process.send_signal(signal.SIGTERM)
        if await process.wait_exit(TERM_S):
            return
    process.send_signal(signal.SIGKILL)
    if not await process.wait_exit(KILL_S):
        detail = (
            f"Failed to terminate process {process.pid} of '{name}' with SIGKILL in "
            f"{KILL_S:.0f} s: the kernel holds it, probably for a disk that does not answer"
        )
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU)


async def clean_up(context: WorkerContext, status: Status, xml: str) -> None:
    """Remove what a domain leaves behind, except its status XML."""
    name = status.name
    # libvirt's order: hook "stopped" while the interfaces and files are there, "release" last.
    await context.hooks.notify(name, "stopped", xml)
    if has_netd_interfaces(xml):
        await detach_port(context, status.uuid)
    await end_processes(status, context.paths.domain_dir(status.id, name))
    context.paths.swtpm_socket(status.id, name).unlink(missing_ok=True)
    remove_pid_files(context.paths, status)
    await restore(status.owners, context.previous_owners)
    await passthrough.give_back_all(status, xml)
    if "type='unix'" in xml:
        remove_sockets(source for _, source in output_sources(parse_domain(xml)))
    await placement.remove(GuestCgroup(layout(), status.cgroup))
    if "<cachetune" in xml or "<memorytune" in xml:
        folder = str(context.paths.domain_dir(status.id, name))
        machine = placement.unique_name(name, status.id, folder)
        for path in remove_groups(parse_domain(xml).cputune, machine):
            log.warning("the resctrl group %s cannot be removed", path)
    remove_directories(context.paths, context.config, status)
    if "<hugepages" in xml or "<pagesize" in xml:
        hugepages.remove_directories(hugepages.find_hugepages(context.config), status)
    clean_up_memory(status)
    await asyncio.to_thread(clean_up_backup, status)
    context.paths.pid_file(name).unlink(missing_ok=True)
    await context.hooks.notify(name, "release", xml)
