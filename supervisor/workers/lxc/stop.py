"""Stop a container, and release its resources.

Owns: both. May touch: the container's processes, cgroups, mounts, folder, interfaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import Final

from conf.domain import Domain, parse_domain
from rpc.enums import DomainShutoffReason
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import Status
from supervisor.workers import lifecycle_actions
from supervisor.workers.cgroups import containers
from supervisor.workers.cgroups.group import Group, remove_parents
from supervisor.workers.cgroups.hierarchies import layout
from supervisor.workers.cgroups.scopes import stop_unit
from supervisor.workers.context import WorkerContext
from supervisor.workers.interfaces import detach_port, has_netd_interfaces
from supervisor.workers.lifecycle_actions import Action
from supervisor.workers.lxc.container import (
    Container,
    ContainerResources,
    container_folder,
    read_resources,
)
from supervisor.workers.lxc.filesystem_mounts import remove_folder, unmount
from supervisor.workers.lxc.host_netdevs import return_devices

GRACEFUL_S: Final = 10.0
KILL_S: Final = 10.0
EMPTY_S: Final = 5.0  # for killed processes to leave their cgroups
PAUSE_S: Final = 0.005
REBOOT_MARK: Final = "rebooted"  # the file that liblxc's post-stop hook makes at a reboot

log = logging.getLogger(__name__)


async def stop(container: Container, reason: DomainShutoffReason, *, graceful: bool) -> None:
    """Stop the container; its exit starts the cleanup.

    The reason is saved first, so that a worker that finds the process gone knows it.

    Raises:
        VirError: OPERATION_FAILED: init does not exit after SIGTERM; SYSTEM_ERROR: nor after
            SIGKILL.
    """
    before = container.status.ending
    container.status.ending = before or reason  # an earlier reason counts
    container.save()
    with contextlib.suppress(VirError):  # frozen processes do not exit; the cgroup may be gone
        if containers.is_frozen(container.group):
            await containers.freeze(container.group, frozen=False)
    if graceful and not container.at_barrier:
        _signal(container, signal.SIGTERM)
        if await container.process.wait_exit(GRACEFUL_S):
            return
        container.status.ending = before
        container.save()
        detail = (
            f"the init of '{container.name}' has not exited {GRACEFUL_S:.0f} s after SIGTERM; "
            "destroy it without the flag to kill it"
        )
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.LXC)
    _signal(container, signal.SIGKILL)
    if await container.process.wait_exit(KILL_S):
        return
    container.process.send_signal(signal.SIGKILL)
    containers.kill(container.group)
    if not await container.process.wait_exit(KILL_S):
        detail = f"a process of '{container.name}' does not exit: it is in uninterruptible sleep"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.LXC)


def _signal(container: Container, number: signal.Signals) -> None:
    """Send a signal to init; during a reboot, when there is none, to the monitor."""
    if container.init is not None and not container.init.exited:
        container.init.send_signal(number)
    else:
        container.process.send_signal(number)


async def clean_up(context: WorkerContext, status: Status, xml: str) -> None:
    """Remove what a stopped container leaves, except its status file."""
    name, paths = status.name, context.paths
    folder = container_folder(paths, name)
    if status.pid and not status.ending:
        orderly = not (folder / "pid").exists()
        set_shutoff_reason(
            status, parse_domain(xml), orderly=orderly, rebooted=has_rebooted(folder)
        )
    resources = read_resources(folder, containers.group_name(status.uuid, name))
    await (kill_processes if status.pid else abort_start)(folder, resources)
    await end_scope(resources)
    await context.hooks.notify(name, "stopped", xml)
    if has_netd_interfaces(xml):
        await detach_port(context, status.uuid)
    if resources.mounts:
        await return_devices(folder, resources, parse_domain(xml))
    await unmount_all(resources)
    await remove_folder(folder)
    paths.pid_file(name).unlink(missing_ok=True)
    await context.hooks.notify(name, "release", xml)


def has_rebooted(folder: Path) -> bool:
    """Return whether a container stopped by rebooting."""
    return (folder / REBOOT_MARK).exists()


def set_shutoff_reason(
    status: Status, domain: Domain, *, orderly: bool, rebooted: bool = False
) -> None:
    """Set the reason of a stop that no client requested, and whether the domain is restarted.

    Args:
        status: is changed.
        domain: of the live XML, with <on_poweroff>, <on_reboot> and <on_crash>.
        orderly: whether liblxc's monitor saw init exit: it then removes its pid file.
        rebooted: whether init rebooted.
    """
    if rebooted:
        status.ending, plan = DomainShutoffReason.SHUTDOWN, lifecycle_actions.on_reboot(domain)
    elif orderly:
        status.ending, plan = DomainShutoffReason.SHUTDOWN, lifecycle_actions.on_poweroff(domain)
    else:
        status.ending, plan = DomainShutoffReason.CRASHED, lifecycle_actions.on_crash(domain)
    status.restart = plan.action in (Action.RESTART, Action.RENAME_RESTART)


async def kill_processes(folder: Path, resources: ContainerResources) -> None:
    """Kill every process of the container and remove its cgroups; none is no error."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + EMPTY_S
    groups = (resources.group, f"{resources.group}.monitor")
    if not any(True for group in groups for _ in containers.directories(group)):
        return
    kill_monitor(folder)
    while any(containers.pids(group) for group in groups) and loop.time() < deadline:
        for group in groups:
            containers.thaw(group)
            containers.kill(group)
        await asyncio.sleep(PAUSE_S)
    while (
        any(True for group in groups for _ in containers.directories(group))
        and loop.time() < deadline
    ):
        for group in groups:
            containers.remove(group)
        await asyncio.sleep(PAUSE_S)
    for group in groups:
        for path in containers.directories(group):
            log.error("%s cannot be removed: it has processes that do not exit", path)


async def end_scope(resources: ContainerResources) -> None:
    """Have systemd end the scope that the container was in, and remove what it did not make."""
    group = Group(layout(), resources.group)
    if group.scope:
        remove_parents(group)
        await stop_unit(group.scope)


async def abort_start(folder: Path, resources: ContainerResources) -> None:
    """Abort a start: liblxc's own processes first, as they may still make cgroups."""
    loop = asyncio.get_running_loop()
    deadline, count = loop.time() + EMPTY_S, 1
    while count and loop.time() < deadline:
        count = kill_monitor(folder)
        await asyncio.sleep(PAUSE_S if count else 0)
    await kill_processes(folder, resources)


def kill_monitor(folder: Path) -> int:
    """Kill lxc-start and monitor processes, found by the folder on their command line; how many."""
    folder_bytes, count = os.fsencode(folder), 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            is_monitor = line.startswith(b"[lxc monitor] %s c" % folder_bytes)
            if is_monitor or (line.startswith(b"/usr/bin/lxc-start\0") and folder_bytes in line):
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
    return count


async def unmount_all(resources: ContainerResources) -> None:
    """Unmount what was mounted on the host for the container."""
    for path in reversed(resources.mounts):
        error = await unmount(path)
        if error:
            log.error("%s cannot be unmounted: %s", path, error)
