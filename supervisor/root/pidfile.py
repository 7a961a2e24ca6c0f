"""The daemon's pid file and the lock on it, which keeps a second daemon out.

Owns: the pid file. May not touch: children.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """Another daemon has locked the pid file; the message names its process."""


class PidFile:
    """The locked file with the daemon's process number."""

    def __init__(self, path: Path) -> None:
        """Lock the file and write our process number into it.

        Raises:
            AlreadyRunning: another daemon has it.
            OSError: the file cannot be made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fd = open_locked(path)
        # A daemon that ends unlinks the file while it has the lock: what we then lock may be a
        # file without a name, and the next daemon would lock another one.
        while not is_same_file(self._fd, path):
            os.close(self._fd)
            self._fd = open_locked(path)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def remove(self) -> None:
        """Unlink the file and unlock it."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._fd)


def open_locked(path: Path) -> int:
    """Open and lock a pid file.

    Raises:
        AlreadyRunning: another process has the lock.
        OSError: the file cannot be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = os.read(fd, 32).decode(errors="replace").strip()
        os.close(fd)
        detail = f"another libvirtd (pid {pid or '?'}) holds {path}; stop it, or use --root"
        raise AlreadyRunning(detail) from None
    return fd


def is_same_file(fd: int, path: Path) -> bool:
    """Return whether an open file is what the path names now."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
