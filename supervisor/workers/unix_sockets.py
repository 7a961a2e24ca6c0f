"""Unix sockets at paths of any length: the kernel's own limit is 107 bytes.

Owns: the way round it, by the folder's descriptor. May touch: the socket's file.
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


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name of the socket that the kernel takes, for as long as the block lasts."""
    if len(os.fsencode(path)) <= SUN_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path, backlog: int = 8) -> socket.socket:
    """Listen at a path that only we may connect to.

    Raises:
        OSError: it cannot be.
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


async def connect(path: Path, timeout_s: float = CONNECT_S) -> socket.socket:
    """Connect to a path.

    Raises:
        OSError, TimeoutError: it does not let us.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with short_path(path) as name:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(end, name)
    except BaseException:
        end.close()
        raise
    return end
