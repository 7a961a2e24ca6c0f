"""A container that stands before its first instruction: liblxc waits until we open a gate.

Owns: the gate, a pipe in the container's folder, and whether there is one.
May touch: the container's folder; liblxc's tool while it starts.

The hook runs when all of the container is there but for its init, which is about to be executed.
Nothing of ours need live meanwhile: the gate is a file, and whoever drives the container opens it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.pidfd import GuestProcess
from supervisor.workers.guest_log import GuestLog
from supervisor.workers.lxc.liblxc import ENVIRONMENT
from supervisor.workers.spawn import Spawning, User, spawn

BARRIER: Final = "gate"
PAUSES_S: Final = (0.002, 0.005, 0.01, 0.02)


def barrier_path(folder: Path) -> Path:
    """Where a container's gate is, until its init has been executed."""
    return folder / BARRIER


def waiting_pid(folder: Path) -> int:
    """The number of the process that is to be the container's init; 0: it is not there yet."""
    try:
        text = barrier_path(folder).with_suffix(".pid").read_text()
    except OSError:
        return 0
    return int(text) if text.endswith("\n") and text.strip().isdigit() else 0


async def start_to_barrier(
    folder: Path, command: list[str], log: GuestLog, timeout_s: float
) -> int:
    """Have liblxc start a container up to the gate; the number of its init to be.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be started, or takes too long.
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
            detail = "it ended" if lxc_start.exited else f"it takes over {timeout_s:.0f} s"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
        await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        attempt += 1
    return pid


def is_waiting(folder: Path, monitor: int) -> bool:
    """Whether a container stands at its gate: who is to be its init is still a copy of its monitor.

    Args:
        folder: the container's.
        monitor: the number of its monitor.
    """
    pid = waiting_pid(folder) if barrier_path(folder).exists() else 0
    return bool(pid) and executable(pid) == executable(monitor) != ""


async def release(folder: Path, timeout_s: float) -> int:
    """Open the gate, and wait until the container's init is executed.

    Args:
        folder: the container's.
        timeout_s: how long liblxc may take.

    Returns:
        The number of the container's init; 0: it could not be executed.

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
            detail = f"the container has not begun {timeout_s:.0f} s after its gate was opened"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.LXC)
        await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        attempt += 1
    barrier_path(folder).unlink(missing_ok=True)
    return pid if now else 0


def executable(pid: int) -> str:
    """What a process executes; "": it has gone."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _open(folder: Path) -> bool:
    """Let the hook go on; whether it was there."""
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
