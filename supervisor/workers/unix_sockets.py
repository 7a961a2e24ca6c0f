"""Unix sockets at paths longer than sun_path, which takes 107 bytes.

Owns: reaching them by their directory's descriptor. May touch: the socket's file.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SUN_PATH_BYTES: Final = 107  # bytes
CONNECT_S: Final = 2.0
RETRY_S: Final = 0.02  # between attempts while the listener's backlog is full


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Return a path of the socket that fits into sun_path, valid within the block."""
    if len(os.fsencode(path)) <= SUN_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path, backlog: int = 8) -> socket.socket:
    """Listen at a path that only the owner may connect to; a socket that is there is replaced.

    Raises:
        OSError: the socket cannot be bound.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(path) as name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.fchmod(end.fileno(), 0o600)  # the socket's file has the mode of the socket
            end.bind(name)
        end.listen(backlog)
    except BaseException:
        end.close()
        raise
    return end


@contextlib.contextmanager
def _socket_at(path: Path) -> Iterator[str]:
    """Return a name of the socket's file itself, valid within the block: no link is followed."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), str(path))
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


async def _connect(end: socket.socket, name: str) -> None:
    """Connect a non-blocking socket.

    connect(2) on AF_UNIX fails with EAGAIN where the listener's backlog is full, and the socket
    is not being connected then: waiting until it is writable would report a success.
    """
    while True:
        try:
            end.connect(name)
        except BlockingIOError:
            await asyncio.sleep(RETRY_S)
        else:
            return


async def connect(path: Path, timeout_s: float = CONNECT_S) -> socket.socket:
    """Connect to a path.

    Raises:
        OSError: no process listens there, or a link is there: who may write to the folder, as
            QEMU's user, could have root talk to another daemon.
        TimeoutError: the listener does not accept.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with _socket_at(path) as name:
            async with asyncio.timeout(timeout_s):
                await _connect(end, name)
    except BaseException:
        end.close()
        raise
    return end
