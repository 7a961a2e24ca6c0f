"""The start barrier: a FIFO at which liblxc waits before it executes a container's init.

Owns: the FIFO in the container's folder. May touch: that folder; lxc-start while it runs.

It implements VIR_DOMAIN_START_PAUSED. liblxc's start-host hook blocks on the FIFO when namespaces,
mounts and interfaces are set up and only the exec of init is left. No process of the daemon is
needed meanwhile: a later worker can release the barrier, too.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.emulator_user import User
from supervisor.runtime.pidfd import GuestProcess
from supervisor.workers.guest_log import GuestLog
from supervisor.workers.lxc.liblxc import ENVIRONMENT
from supervisor.workers.spawn import Spawning, spawn

BARRIER: Final = "gate"
PAUSES_S: Final = (0.002, 0.005, 0.01, 0.02)


def barrier_path(folder: Path) -> Path:
    """Locate the FIFO that exists until init is executed."""
    return folder / BARRIER


def waiting_pid(folder: Path) -> int:
    """Read the pid of the process that will execute init; 0: the hook has not written it yet."""
    try:
        text = barrier_path(folder).with_suffix(".pid").read_text()
    except OSError:
        return 0
    return int(text) if text.endswith("\n") and text.strip().isdigit() else 0


async def start_to_barrier(
    folder: Path, command: list[str], log: GuestLog, timeout_s: float
) -> int:
    """Run lxc-start up to the barrier; the pid of the process that will execute init.

    Raises:
        VirError: INTERNAL_ERROR: lxc-start exits, or takes too long.
    """
    os.mkfifo(barrier_path(folder), 0o600)
    own = User(os.geteuid(), os.getegid(), "")
    lxc_start = GuestProcess.open_child(
        spawn(Spawning(command, ENVIRONMENT, (), log.fileno(), own))
    )
    loop = asyncio.get_running_loop()
    deadline, attempt = loop.time() + timeout_s, 0
    while not (pid := waiting_pid(folder)):
        if lxc_start.exited or loop.time() > deadline:
            detail = (
                "lxc-start exited"
                if lxc_start.exited
                else f"lxc-start takes over {timeout_s:.0f} s"
            )
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
        await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        attempt += 1
    return pid


def is_waiting(folder: Path, monitor: int) -> bool:
    """Return whether the init process waits at its barrier: still a fork of the monitor.

    Args:
        folder: the container's.
        monitor: the pid of its monitor.
    """
    pid = waiting_pid(folder) if barrier_path(folder).exists() else 0
    return bool(pid) and executable(pid) == executable(monitor) != ""


async def release(folder: Path, timeout_s: float) -> int:
    """Release the barrier, and wait until init is executed.

    Args:
        folder: the container's.
        timeout_s: how long liblxc may take.

    Returns:
        The pid of init; 0: it could not be executed.

    Raises:
        VirError: OPERATION_TIMEOUT.
    """
    pid = waiting_pid(folder)
    before, opened = executable(pid), False
    loop = asyncio.get_running_loop()
    deadline, attempt = loop.time() + timeout_s, 0
    while (now := executable(pid)) == before and now:
        opened = opened or _open(folder)
        if loop.time() > deadline:
            detail = f"init is not executed {timeout_s:.0f} s after the start barrier was released"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.LXC)
        await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        attempt += 1
    barrier_path(folder).unlink(missing_ok=True)
    return pid if now else 0


def executable(pid: int) -> str:
    """Read the executable of a process; "" when it has exited."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _open(folder: Path) -> bool:
    """Write the line that the hook reads; False: the hook has not opened the FIFO yet."""
    try:
        fd = os.open(barrier_path(folder), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.write(fd, b"\n") == 1
    except BrokenPipeError:
        return False
    finally:
        os.close(fd)
