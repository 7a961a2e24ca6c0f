"""Lifecycle commands of a running container: shutdown, reboot, suspend, resume.

Owns: one function a command. May touch: the container's init, its cgroup.
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
from supervisor.workers.cgroups import containers
from supervisor.workers.guest_log import last_error_output
from supervisor.workers.lxc import start_barrier
from supervisor.workers.lxc.checks import open_inside
from supervisor.workers.lxc.container import Container
from supervisor.workers.lxc.liblxc import error_cause
from supervisor.workers.lxc.proc_status import fields, read_status
from supervisor.workers.state_table import Trigger, require

INITCTL: Final = int(DomainShutdownFlagValues.INITCTL)
SIGNAL: Final = int(DomainShutdownFlagValues.SIGNAL)
EXEC_S: Final = 10.0  # from the release of the start barrier to the exec of init
MAGIC: Final = 0x03091969
CHANGE_RUNLEVEL: Final = 1
REQUEST: Final = struct.Struct("@iiii368x")
#: Where SysV init reads requests; the first FIFO that has a reader is used.
INITCTL_PATHS: Final = (("dev", "initctl"), ("run", "initctl"), ("etc", ".initctl"))


@dataclass(frozen=True, slots=True)
class ShutdownMethod:
    """How init is requested to shut down or reboot."""

    runlevel: int
    signal: signal.Signals  # to an init that is not systemd
    systemd: int  # to systemd (systemd(1), "Signals")
    verb: str


SHUTDOWN: Final = ShutdownMethod(0, signal.SIGTERM, signal.SIGRTMIN + 4, "shut down")
REBOOT: Final = ShutdownMethod(6, signal.SIGHUP, signal.SIGRTMIN + 5, "reboot")


def initctl_request(runlevel: int) -> bytes:
    """Pack the request of /dev/initctl to change the runlevel."""
    return REQUEST.pack(MAGIC, CHANGE_RUNLEVEL, ord(str(runlevel)), 0)


def signal_for(method: ShutdownMethod, status: str) -> int:
    """Choose the signal by which an init shuts down or reboots.

    To systemd SIGTERM and SIGHUP mean re-execution and reload. It reads its own real-time signals
    from a signalfd, so it blocks them; no other init does.

    Args:
        method: shutdown or reboot.
        status: the text of init's `/proc/PID/status`.
    """
    blocked = fields(status, "SigBlk")
    if blocked and int(blocked[0], 16) >> (method.systemd - 1) & 1:
        return method.systemd
    return method.signal


async def shutdown(container: Container, flags: int) -> None:
    """Request the container's init to shut down.

    Raises:
        VirError: as `request_init`.
    """
    await request_init(container, SHUTDOWN, flags)


async def reboot(container: Container, flags: int) -> None:
    """Request the container's init to reboot.

    Raises:
        VirError: as `request_init`.
    """
    await request_init(container, REBOOT, flags)


async def request_init(container: Container, method: ShutdownMethod, flags: int) -> None:
    """Request init to shut down or reboot.

    Without flags, systemd gets its signal; another init gets a request on /dev/initctl if it reads
    that, else the usual signal.

    Raises:
        VirError: INVALID_ARG for other flags; OPERATION_UNSUPPORTED: the flags allow only initctl,
            and there is none; OPERATION_INVALID: there is no init, as during a reboot.
    """
    if flags & ~(INITCTL | SIGNAL):
        detail = f"unsupported flags ({flags & ~(INITCTL | SIGNAL):#x}); use initctl or signal"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.LXC)
    pid = container.init_pid
    container.require_init()
    if pid == 0 or container.init is None:
        detail = f"the container '{container.name}' has no init at the moment"
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
    """Write the request to the container's initctl, if it has one with a reader; whether it did."""
    for parts in INITCTL_PATHS:
        try:
            fd = open_inside(f"/proc/{pid}/root", parts, os.O_WRONLY)
        except OSError:  # missing, a symbolic link, or ENXIO: no reader
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
    """Freeze every process.

    Raises:
        VirError: OPERATION_INVALID: the container is paused; those of `containers.freeze`.
    """
    require(container.name, container.state, Trigger.SUSPENDED, ErrorDomain.LXC)
    await containers.freeze(container.group, frozen=True)
    container.transition(Trigger.SUSPENDED)


async def resume(container: Container) -> None:
    """Thaw every process, or execute the init of a container that was started paused.

    Raises:
        VirError: OPERATION_INVALID: the container runs; INTERNAL_ERROR: init cannot be executed.
    """
    require(container.name, container.state, Trigger.RESUMED, ErrorDomain.LXC)
    if container.at_barrier:
        await _execute_init(container)
    else:
        await containers.freeze(container.group, frozen=False)
    container.transition(Trigger.RESUMED)


async def _execute_init(container: Container) -> None:
    """Execute the init of a container that was started paused."""
    container.status.ending = DomainShutoffReason.FAILED  # the reason if it exits now
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
