"""How a daemon makes itself known: its lock on a pid file, and sd_notify.

Owns: the pid file and the service manager's socket. May not touch: children.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Mapping
from pathlib import Path


class AlreadyRunning(Exception):
    """Another daemon holds the lock; the message names its process."""


class PidFile:
    """The daemon's process number, and the lock that only one can hold."""

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            AlreadyRunning: another daemon has it.
            OSError: the file cannot be made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fd = locked(path)
        while not is_file(self._fd, path):  # its holder took it away before we had the lock
            os.close(self._fd)
            self._fd = locked(path)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def remove(self) -> None:
        """Take the file away, and give the lock back."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._fd)


def locked(path: Path) -> int:
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


def is_file(fd: int, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def notify(environ: Mapping[str, str], text: str) -> None:
    """Tell the service manager, if there is one: "READY=1" or "STOPPING=1"."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(1.0)
        end.connect("\0" + address[1:] if address.startswith("@") else address)
        end.send(text.encode())
