"""The lock that only the one worker of a guest holds.

Owns: taking it. The kernel gives it back when the process ends, however it ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

RETRY_S: Final = 0.02


class LockHeld(Exception):
    """Another worker holds the lock and does not go."""


async def take_lock(path: Path, timeout_s: float) -> int:
    """Take the lock; its descriptor must stay open.

    Args:
        path: the lock's file, which stays when the lock is given back.
        timeout_s: how long a predecessor may take to die.

    Raises:
        LockHeld: it did not.
    """
    fd = _open(path)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if loop.time() >= deadline:
                os.close(fd)
                detail = f"another worker holds {path} and has not ended in {timeout_s:.0f} s"
                raise LockHeld(detail) from None
            await asyncio.sleep(RETRY_S)
        except BaseException:
            os.close(fd)
            raise
        else:
            return fd


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)
