"""Unix sockets at paths longer than sun_path, which takes 107 bytes.

Owns: reaching them by their directory's descriptor. May touch: the socket's file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
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
            end.bind(name)
        os.chmod(path, 0o600)
        end.listen(backlog)
    except BaseException:
        end.close()
        raise
    return end


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
        OSError: no process listens there.
        TimeoutError: the listener does not accept.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with short_path(path) as name:
            async with asyncio.timeout(timeout_s):
                await _connect(end, name)
    except BaseException:
        end.close()
        raise
    return end
