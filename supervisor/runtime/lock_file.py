"""A lock on a file, by which one process at a time drives a domain or takes the host's devices.

Owns: taking it. May touch: its file. The kernel releases a flock when the process ends, also by
SIGKILL.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

RETRY_S: Final = 0.02


class LockHeld(Exception):
    """Another process holds the lock and does not release it."""


async def take_lock(path: Path, timeout_s: float) -> int:
    """Take the lock, waiting for its holder.

    Args:
        path: the lock's file; see `remove_lock`.
        timeout_s: how long the holder may take to release it, as by its end.

    Raises:
        LockHeld: it still holds it.

    Returns:
        The descriptor, which must stay open.
    """
    fd = _open(path)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        try:
            # Not fcntl(F_SETLK): the process would lose that lock by closing any descriptor of the
            # file. LOCK_NB: a blocking flock() would block the event loop.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if loop.time() >= deadline:
                os.close(fd)
                detail = f"another process has held {path} for {timeout_s:.0f} s"
                raise LockHeld(detail) from None
            await asyncio.sleep(RETRY_S)
        except BaseException:
            os.close(fd)
            raise
        else:
            if _is_at(fd, path):
                return fd
            os.close(fd)  # its holder has removed it: the lock of a file that nobody else finds
            fd = _open(path)


def remove_lock(path: Path) -> None:
    """Remove the lock's file with the guest; the caller holds the lock and ends soon.

    Raises:
        OSError: it cannot be removed; it does no harm.
    """
    path.unlink(missing_ok=True)


def _is_at(fd: int, path: Path) -> bool:
    """Return whether an open file is still the one of that name."""
    ours = os.fstat(fd)
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)
