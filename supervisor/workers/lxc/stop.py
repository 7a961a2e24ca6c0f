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
from supervisor.workers import lifecycle_actions
from supervisor.workers.context import WorkerContext
from supervisor.workers.interfaces import detach_port, has_netd_interfaces
from supervisor.workers.lifecycle_actions import Action
from supervisor.workers.lxc import cgroups
from supervisor.workers.lxc.container import Container, Held, folder_of, read_held
from supervisor.workers.lxc.filesystem_mounts import remove_folder, unmount
from supervisor.workers.lxc.host_netdevs import give_back

GRACEFUL_S: Final = 10.0
KILL_S: Final = 10.0
GONE_S: Final = 5.0  # for killed processes to leave their groups
PAUSE_S: Final = 0.005
REBOOTED: Final = "rebooted"  # the file in its folder that says that it ended in a reboot

log = logging.getLogger(__name__)


async def end(container: Container, reason: DomainShutoffReason, *, graceful: bool) -> None:
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
            await cgroups.freeze(container.group, on=False)
    if graceful and not container.gated:
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


async def clean_up(workplace: WorkerContext, status: Status, xml: str) -> None:
    """Remove what a container leaves behind, except its status document."""
    name, paths = status.name, workplace.paths
    folder = folder_of(paths, name)
    if status.pid and not status.ending:
        orderly = not (folder / "pid").exists()
        explain_end(status, parse_domain(xml), orderly=orderly, rebooted=has_rebooted(folder))
    held = read_held(folder, cgroups.group_name(status.uuid, name))
    await (kill_all if status.pid else end_begun)(folder, held)
    await workplace.hooks.notify(name, "stopped", xml)
    if has_netd_interfaces(xml):
        await detach_port(workplace, status.uuid)
    if held.mounts:
        await give_back(folder, held, parse_domain(xml))
    await give_back_mounts(held)
    await remove_folder(folder)
    paths.pid_file(name).unlink(missing_ok=True)
    await workplace.hooks.notify(name, "release", xml)


def has_rebooted(folder: Path) -> bool:
    """Whether a container that has ended did so in a reboot."""
    return (folder / REBOOTED).exists()


def explain_end(status: Status, domain: Domain, *, orderly: bool, rebooted: bool = False) -> None:
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


async def kill_all(folder: Path, held: Held) -> None:
    """End whatever runs for the container, and remove its cgroups; nothing is no error."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GONE_S
    groups = (held.group, f"{held.group}.monitor")
    if not any(True for group in groups for _ in cgroups.folders(group)):
        return
    kill_monitor(folder)
    while any(cgroups.members(group) for group in groups) and loop.time() < deadline:
        for group in groups:
            cgroups.thaw_quietly(group)
            cgroups.kill(group)
        await asyncio.sleep(PAUSE_S)
    while any(True for group in groups for _ in cgroups.folders(group)) and loop.time() < deadline:
        for group in groups:
            cgroups.remove(group)
        await asyncio.sleep(PAUSE_S)
    for group in groups:
        for path in cgroups.folders(group):
            log.error("%s cannot be removed: processes are in it that do not end", path)


async def end_begun(folder: Path, held: Held) -> None:
    """End a start that was given up: liblxc's own processes first, which may yet make groups."""
    loop = asyncio.get_running_loop()
    deadline, found = loop.time() + GONE_S, 1
    while found and loop.time() < deadline:
        found = kill_monitor(folder)
        await asyncio.sleep(PAUSE_S if found else 0)
    await kill_all(folder, held)


def kill_monitor(folder: Path) -> int:
    """Kill liblxc's processes of a container, which name its folder; how many there were."""
    words, found = os.fsencode(folder), 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            is_monitor = line.startswith(b"[lxc monitor] %s c" % words)
            if is_monitor or (line.startswith(b"/usr/bin/lxc-start\0") and words in line):
                os.kill(int(entry.name), signal.SIGKILL)
                found += 1
    return found


async def give_back_mounts(held: Held) -> None:
    """Unmount what the host had mounted for the container."""
    for place in reversed(held.mounts):
        complaint = await unmount(place)
        if complaint:
            log.error("what is at %s stays mounted: %s", place, complaint)
