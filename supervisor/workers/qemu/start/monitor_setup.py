"""Monitor setup of a start: greeting, passwords, ptys, vCPU threads, before the vCPUs run.

Owns: the QMP commands between QEMU's exec and `cont`. May touch: QEMU, by QMP.
May not touch: files.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable, Sequence

from conf.domain import Domain
from conf.domain.devices.graphics import Graphics
from conf.types.size import KIB
from rpc.enums import ConnectDomainEventAgentLifecycleReason
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.lifecycle_actions import allows_reboot
from supervisor.workers.qemu import cputune
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.balloon import poll_statistics
from supervisor.workers.qemu.block.iotune import throttle_commands
from supervisor.workers.qemu.cgroup.threads import place_threads
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.memory_devices import refresh_modules
from supervisor.workers.qemu.perf import enable_events
from supervisor.workers.qemu.qmp.monitor import Monitor, QmpError
from supervisor.workers.qemu.qmp.replies import ChardevInfo, CpuInfoFast
from supervisor.workers.qemu.start import live_xml
from supervisor.workers.qemu.start.guest_cpu import describe_live_cpu
from supervisor.workers.qemu.threads import iothread_threads, threads_by_vcpu
from supervisor.workers.qemu.vcpus import plug_at_start
from supervisor.workers.unix_sockets import connect

log = logging.getLogger(__name__)


async def connect_monitor(
    guest: Guest, error_output: Callable[[], Awaitable[str]], timeout_s: float
) -> None:
    """Connect to a QEMU that was just spawned, and set it up.

    Args:
        guest: its guest.
        error_output: reads what it has printed.
        timeout_s: for its greeting.

    Raises:
        VirError: INTERNAL_ERROR with QEMU's output; OPERATION_TIMEOUT.
    """
    try:
        end = await connect(guest.domain_dir / "monitor.sock")
    except ConnectionRefusedError:  # it has exited, and closed its end, already
        await guest.process.wait_exit(timeout_s)
        raise _exited(await error_output()) from None
    monitor = guest.open_monitor(end)
    greeting = asyncio.create_task(monitor.greet(timeout_s))
    # QEMU checks its command line before it greets: most starts that fail end here.
    dying = asyncio.create_task(guest.process.wait_exit(timeout_s))
    try:
        await asyncio.wait({greeting, dying}, return_when=asyncio.FIRST_COMPLETED)
        has_exited = dying.done() and dying.result()
        if has_exited or (greeting.done() and greeting.exception() is not None):
            await _explain(guest, monitor, error_output, greeting)
        await greeting
        guest.set_monitor(monitor)
        await configure(guest, monitor)
    except BaseException:
        monitor.close()
        raise
    finally:
        greeting.cancel()
        dying.cancel()


async def _explain(
    guest: Guest,
    monitor: Monitor,
    error_output: Callable[[], Awaitable[str]],
    greeting: asyncio.Task[None],
) -> None:
    """Raise an error that says why QEMU did not greet: what it printed, if it exited."""
    reason = monitor.lost_reason
    monitor.close()
    exited = await guest.process.wait_exit(1.0)
    greeting.cancel()
    await asyncio.wait({greeting})
    late = None if greeting.cancelled() else greeting.exception()
    output = await error_output()
    if exited:
        raise _exited(output)
    if late is not None and not reason:
        raise late
    detail = f"monitor of QEMU cannot be used: {reason} {output}"
    raise VirError(ErrorCode.INTERNAL_ERROR, detail.strip(), ErrorDomain.QEMU)


def _exited(output: str) -> VirError:
    """Make the error for a QEMU that has exited instead of greeting."""
    detail = f"process exited while connecting to monitor: {output}"
    return VirError(ErrorCode.INTERNAL_ERROR, detail.strip(), ErrorDomain.QEMU)


async def configure(guest: Guest, monitor: Monitor) -> None:
    """Set what has no command line option, and query what QEMU chose.

    Raises:
        VirError: QEMU refuses.
    """
    domain = guest.domain
    await describe_live_cpu(guest, monitor)
    for command, arguments in setup_commands(domain):
        await monitor.execute(command, arguments)
    if any(live_xml.pty_devices(domain)) or domain.devices.channels:
        fill_chardevs(guest.domain, await query_chardevs(monitor))
    if guest_agent.channel_path(guest) is not None:
        guest_agent.publish_state(guest, ConnectDomainEventAgentLifecycleReason.DOMAIN_STARTED)
    if guest.cgroup.exists or cputune.needs_thread_ids(domain):
        await apply_thread_tuning(guest, monitor)
    await plug_at_start(guest, monitor)
    if domain.devices.memories:
        await refresh_modules(guest)
    enable_events(guest)
    await enable_balloon_stats(domain, monitor)


def setup_commands(domain: Domain) -> list[tuple[str, dict[str, object]]]:
    """List the QMP commands that set up a QEMU before its vCPUs run."""
    commands: list[tuple[str, dict[str, object]]] = []
    if not allows_reboot(domain):
        # QEMU then stops with SHUTDOWN "guest-reset" in place of a reset, and the worker acts.
        commands.append(("set-action", {"reboot": "shutdown"}))
    for graphics in domain.devices.graphics:
        commands += password_commands(graphics)
    for interface in domain.devices.interfaces:
        if interface.link_state == "down":
            commands.append(("set_link", {"name": interface.alias, "up": False}))
    # -blockdev takes no limits: they belong to the device's block backend.
    for disk in domain.devices.disks:
        commands += throttle_commands(disk)
    current = domain.current_memory.amount if domain.current_memory else domain.memory
    balloon = domain.devices.memballoon
    if balloon is not None and balloon.model != "none" and current < domain.memory:
        # The argument is the memory that the guest keeps, not the balloon's size.
        commands.append(("balloon", {"value": current * KIB}))
    return commands


def password_commands(graphics: Graphics) -> list[tuple[str, dict[str, object]]]:
    """List the QMP commands that set a display's password.

    Passwords are set by QMP as other processes can read the command line.
    """
    if graphics.passwd is None or graphics.type not in ("vnc", "spice"):
        return []
    connected = graphics.connected or "keep"
    protocol = graphics.type
    expires = "never"
    if graphics.passwd_valid_to:
        moment = datetime.datetime.fromisoformat(graphics.passwd_valid_to)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        expires = str(int(moment.timestamp()))
    return [
        (
            "set_password",
            {"protocol": protocol, "password": graphics.passwd, "connected": connected},
        ),
        ("expire_password", {"protocol": protocol, "time": expires}),
    ]


async def query_chardevs(monitor: Monitor) -> list[ChardevInfo]:
    """Query the character devices, with the ptys that QEMU has allocated."""
    return await monitor.query("query-chardev", list[ChardevInfo])


def fill_chardevs(domain: Domain, chardevs: Sequence[ChardevInfo]) -> bool:
    """Fill in the paths of ptys and the states of channels; whether any is new."""
    states = {chardev.label: chardev.frontend_open for chardev in chardevs}
    changed = live_xml.fill_channel_states(domain, states)
    files = {chardev.label: chardev.filename for chardev in chardevs}
    changed |= live_xml.fill_pty_paths(domain, files)
    live_xml.copy_serial_to_console(domain)
    return changed


def are_recorded(chardevs: Sequence[ChardevInfo], xml: str) -> bool:
    """Return whether XML has each pty's path and no channel, whose state may have changed."""
    names = (chardev.filename for chardev in chardevs)
    ptys = (name.removeprefix("pty:") for name in names if name.startswith("pty:"))
    return "<channel " not in xml and all(f"'{path}'" in xml for path in ptys)


async def apply_thread_tuning(guest: Guest, monitor: Monitor) -> None:
    """Move QEMU's threads to their groups, and set their CPU affinity and scheduling (<cputune>).

    Raises:
        VirError: SYSTEM_ERROR: the kernel refuses.
    """
    cpus = await monitor.query("query-cpus-fast", list[CpuInfoFast])
    threads = threads_by_vcpu(guest, cpus)
    iothreads = {}
    if guest.domain.iothread_list():
        iothreads = await iothread_threads(guest)
    place_threads(guest, threads, iothreads)
    vcpus = list(threads.values())
    cputune.apply_cputune(guest.domain, guest.process.pid, vcpus, iothreads)


async def enable_balloon_stats(domain: Domain, monitor: Monitor) -> None:
    """Have QEMU poll the guest's balloon driver every <stats period=> seconds."""
    balloon = domain.devices.memballoon
    if balloon is None or balloon.model == "none" or not balloon.stats_period:
        return
    try:
        await poll_statistics(monitor, balloon, balloon.stats_period)
    except QmpError as error:
        log.warning("%s: balloon statistics cannot be enabled: %s", domain.name, error)
