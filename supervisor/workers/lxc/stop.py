"""Ending a container, and removing what is left of it.

Owns: both. May touch: the container's process, cgroups, images, folder, cards.
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
from supervisor.workers import cgroups, lifecycle_actions
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
EMPTY_S: Final = 5.0  # for killed processes to leave their groups
PAUSE_S: Final = 0.005
REBOOT_MARK: Final = "rebooted"  # the file in its folder that says that it ended in a reboot

log = logging.getLogger(__name__)


async def stop(container: Container, reason: DomainShutoffReason, *, graceful: bool) -> None:
    """End the container; what follows its end is begun by that.

    The reason is kept first: whoever finds the process gone knows why.

    Raises:
        VirError: OPERATION_FAILED: it does not go gracefully; SYSTEM_ERROR: it does not go at all.
    """
    before = container.status.ending
    container.status.ending = before or reason  # the first that was given counts
    container.save()
    with contextlib.suppress(VirError):  # what stands still cannot end; its group may have gone
        if cgroups.is_frozen(container.group):
            await cgroups.freeze(container.group, frozen=False)
    if graceful and not container.at_barrier:
        _signal(container, signal.SIGTERM)
        if await container.process.wait_exit(GRACEFUL_S):
            return
        container.status.ending = before
        container.save()
        detail = (
            f"the init of '{container.name}' has not ended {GRACEFUL_S:.0f} s after SIGTERM; "
            "destroy it without the flag to kill it"
        )
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.LXC)
    _signal(container, signal.SIGKILL)
    if await container.process.wait_exit(KILL_S):
        return
    container.process.send_signal(signal.SIGKILL)
    cgroups.kill(container.group)
    if not await container.process.wait_exit(KILL_S):
        detail = f"the container '{container.name}' does not end: the host's kernel holds it"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.LXC)


def _signal(container: Container, number: signal.Signals) -> None:
    """Signal init; while there is none (between a reboot's two), the monitor, which ends it."""
    if container.init is not None and not container.init.exited:
        container.init.send_signal(number)
    else:
        container.process.send_signal(number)


async def clean_up(context: WorkerContext, status: Status, xml: str) -> None:
    """Remove what a container leaves behind, except its status document."""
    name, paths = status.name, context.paths
    folder = container_folder(paths, name)
    if status.pid and not status.ending:
        orderly = not (folder / "pid").exists()
        set_shutoff_reason(
            status, parse_domain(xml), orderly=orderly, rebooted=has_rebooted(folder)
        )
    resources = read_resources(folder, cgroups.group_name(status.uuid, name))
    await (kill_processes if status.pid else abort_start)(folder, resources)
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
    """Whether a container that has ended did so in a reboot."""
    return (folder / REBOOT_MARK).exists()


def set_shutoff_reason(
    status: Status, domain: Domain, *, orderly: bool, rebooted: bool = False
) -> None:
    """Say why a container has ended that nobody of us has ended, and what is to follow.

    Args:
        status: is completed.
        domain: its live document.
        orderly: whether liblxc's monitor saw the end of init: it has then removed its pid file.
        rebooted: whether it was a reboot.
    """
    if rebooted:
        status.ending, plan = DomainShutoffReason.SHUTDOWN, lifecycle_actions.on_reboot(domain)
    elif orderly:
        status.ending, plan = DomainShutoffReason.SHUTDOWN, lifecycle_actions.on_poweroff(domain)
    else:
        status.ending, plan = DomainShutoffReason.CRASHED, lifecycle_actions.on_crash(domain)
    status.restart = plan.action in (Action.RESTART, Action.RENAME_RESTART)


async def kill_processes(folder: Path, resources: ContainerResources) -> None:
    """End whatever runs for the container, and remove its cgroups; nothing is no error."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + EMPTY_S
    groups = (resources.group, f"{resources.group}.monitor")
    if not any(True for group in groups for _ in cgroups.directories(group)):
        return
    kill_monitor(folder)
    while any(cgroups.pids(group) for group in groups) and loop.time() < deadline:
        for group in groups:
            cgroups.thaw(group)
            cgroups.kill(group)
        await asyncio.sleep(PAUSE_S)
    while (
        any(True for group in groups for _ in cgroups.directories(group)) and loop.time() < deadline
    ):
        for group in groups:
            cgroups.remove(group)
        await asyncio.sleep(PAUSE_S)
    for group in groups:
        for path in cgroups.directories(group):
            log.error("%s cannot be removed: processes are in it that do not end", path)


async def abort_start(folder: Path, resources: ContainerResources) -> None:
    """End a start that was given up: liblxc's own processes first, which may yet make groups."""
    loop = asyncio.get_running_loop()
    deadline, count = loop.time() + EMPTY_S, 1
    while count and loop.time() < deadline:
        count = kill_monitor(folder)
        await asyncio.sleep(PAUSE_S if count else 0)
    await kill_processes(folder, resources)


def kill_monitor(folder: Path) -> int:
    """Kill liblxc's processes of a container, which name its folder; how many there were."""
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
    """Unmount what the host had mounted for the container."""
    for path in reversed(resources.mounts):
        error = await unmount(path)
        if error:
            log.error("what is at %s stays mounted: %s", path, error)
