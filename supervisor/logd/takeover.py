"""The takeover of the pipes: of all processes of logd, one reads them.

Owns: the lock, and ending its holder. May touch: another logd, by SIGTERM and SIGKILL.

logd outlives its root, as guests do, so that their output is not lost while no daemon runs. The
next root starts another one: it opens every pipe for reading, ends the previous one, and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from pathlib import Path
from typing import Final

TERM_S: Final = 2.0
KILL_S: Final = 5.0
RETRY_S: Final = 0.005


class NotTakenOver(Exception):
    """The previous logd does not end."""


async def take_lock(path: Path) -> int:
    """Take the lock, and end the process that holds it.

    Returns:
        The descriptor, which stays open as long as the process lives.

    Raises:
        NotTakenOver: its holder does not end. OSError: the file cannot be opened.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for number, timeout_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
        if _try_lock(fd):
            break
        _signal_holder(fd, number)
        if await _wait_lock(fd, timeout_s):
            break
    else:
        os.close(fd)
        raise NotTakenOver(f"the process that holds {path} does not end")
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


async def _wait_lock(fd: int, timeout_s: float) -> bool:
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    while not _try_lock(fd):  # flock(2) has no event, and would block the loop
        if loop.time() > until:
            return False
        await asyncio.sleep(RETRY_S)
    return True


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal_holder(fd: int, number: signal.Signals) -> None:
    """Send a signal to the process whose number is in the locked file: it lives, as it holds it."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(os.pread(fd, 32, 0))
        if pid > 1 and pid != os.getpid():
            os.kill(pid, number)
