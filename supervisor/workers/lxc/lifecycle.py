"""What domd orders of a running container: shutdown, reboot, suspend, resume.

Owns: one function an order. May touch: the container's init, its cgroup.
Source: libvirt 9.0's lxc driver; the request that init(8) reads from /dev/initctl; systemd(1) on
signals.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import struct
from dataclasses import dataclass
from typing import Final

from rpc.enums import DomainShutdownFlagValues, DomainShutoffReason
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers import cgroups
from supervisor.workers.guest_log import last_error_output
from supervisor.workers.lxc import start_barrier
from supervisor.workers.lxc.checks import open_inside
from supervisor.workers.lxc.container import Container
from supervisor.workers.lxc.liblxc import error_cause
from supervisor.workers.lxc.proc_status import fields, read_status
from supervisor.workers.state_table import Trigger, require

INITCTL: Final = int(DomainShutdownFlagValues.INITCTL)
SIGNAL: Final = int(DomainShutdownFlagValues.SIGNAL)
EXEC_S: Final = 10.0  # between the opening of a gate and its container's first instruction
MAGIC: Final = 0x03091969
CHANGE_RUNLEVEL: Final = 1
REQUEST: Final = struct.Struct("@iiii368x")
#: Where an init may read its orders, the first that there is.
INITCTL_PATHS: Final = (("dev", "initctl"), ("run", "initctl"), ("etc", ".initctl"))


@dataclass(frozen=True, slots=True)
class ShutdownMethod:
    """A way for a container to end or begin anew."""

    runlevel: int
    signal: signal.Signals
    systemd: int  # the signal by which systemd takes it
    verb: str


SHUTDOWN: Final = ShutdownMethod(0, signal.SIGTERM, signal.SIGRTMIN + 4, "shut down")
REBOOT: Final = ShutdownMethod(6, signal.SIGHUP, signal.SIGRTMIN + 5, "reboot")


def initctl_request(runlevel: int) -> bytes:
    """What tells init to change its runlevel."""
    return REQUEST.pack(MAGIC, CHANGE_RUNLEVEL, ord(str(runlevel)), 0)


def signal_for(method: ShutdownMethod, status: str) -> int:
    """The signal that an init takes for an order.

    To systemd SIGTERM and SIGHUP mean other things. It waits for signals of its own, which is to
    say that it blocks them; no init that does not know them does.

    Args:
        method: what it is to do.
        status: the text of its `/proc/PID/status`.
    """
    blocked = fields(status, "SigBlk")
    if blocked and int(blocked[0], 16) >> (method.systemd - 1) & 1:
        return method.systemd
    return method.signal


async def shutdown(container: Container, flags: int) -> None:
    """Ask the container's init to end.

    Raises:
        VirError: as `request_init`.
    """
    await request_init(container, SHUTDOWN, flags)


async def reboot(container: Container, flags: int) -> None:
    """Ask the container's init to begin anew.

    Raises:
        VirError: as `request_init`.
    """
    await request_init(container, REBOOT, flags)


async def request_init(container: Container, method: ShutdownMethod, flags: int) -> None:
    """Have the container's init end or begin anew.

    A signal is sent that its init is known to take for that; where none is, its pipe is written
    to if it has one, and the usual signal sent if not.

    Raises:
        VirError: INVALID_ARG for other ways; OPERATION_UNSUPPORTED: it has no pipe and no signal is
            allowed; OPERATION_INVALID: it has no init just now.
    """
    if flags & ~(INITCTL | SIGNAL):
        detail = f"unsupported flags ({flags & ~(INITCTL | SIGNAL):#x}); use initctl or signal"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.LXC)
    pid = container.init_pid
    container.require_init()
    if pid == 0 or container.init is None:
        detail = f"the container '{container.name}' has no init just now"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.LXC)
    number = signal_for(method, read_status(pid))
    if flags == 0 and number == method.systemd:
        container.init.send_signal(number)
        return
    if (flags == 0 or flags & INITCTL) and await asyncio.to_thread(
        _write_initctl, pid, method.runlevel
    ):
        return
    if flags and not flags & SIGNAL:
        detail = (
            f"Container does not provide an initctl pipe: '{container.name}' cannot {method.verb}"
        )
        raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.LXC)
    container.init.send_signal(number)


def _write_initctl(pid: int, runlevel: int) -> bool:
    """Write the order into the container's pipe, if it has one that is read; whether it was."""
    for parts in INITCTL_PATHS:
        try:
            fd = open_inside(f"/proc/{pid}/root", parts, os.O_WRONLY)
        except OSError:  # none, a link, or nobody reads it
            continue
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                return os.write(fd, initctl_request(runlevel)) == REQUEST.size
        except OSError:
            continue
        finally:
            os.close(fd)
    return False


async def suspend(container: Container) -> None:
    """Stop every process.

    Raises:
        VirError: OPERATION_INVALID: they stand still; those of `cgroups.freeze`.
    """
    require(container.name, container.state, Trigger.SUSPENDED, ErrorDomain.LXC)
    await cgroups.freeze(container.group, frozen=True)
    container.transition(Trigger.SUSPENDED)


async def resume(container: Container) -> None:
    """Let every process run.

    Raises:
        VirError: OPERATION_INVALID: they run; INTERNAL_ERROR: a container that was started paused
            has no such init.
    """
    require(container.name, container.state, Trigger.RESUMED, ErrorDomain.LXC)
    if container.at_barrier:
        await _execute_init(container)
    else:
        await cgroups.freeze(container.group, frozen=False)
    container.transition(Trigger.RESUMED)


async def _execute_init(container: Container) -> None:
    """Let a container that was started paused execute its first instruction."""
    container.status.ending = DomainShutoffReason.FAILED  # why it ends if it does now
    pid = await start_barrier.release(container.folder, EXEC_S)
    try:
        if not pid:
            raise ProcessLookupError
        container.attach_init(pid)
    except ProcessLookupError:
        output = last_error_output(container.context.paths.guest_log(container.name))
        detail = f"guest failed to start: {error_cause(output)}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from None
    container.status.ending = 0
