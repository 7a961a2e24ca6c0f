"""Values of the kernel's in /sys, /proc and cgroups: read whole, written in one write.

Owns: nothing. May touch: the files that it is told.
"""

from __future__ import annotations

import os
from typing import Final

READ_BYTES: Final = 1 << 16


def read_file(path: str) -> str:
    """Read a value of the kernel's, without the line's end.

    `pathlib` would take five times as long, and a query reads a dozen of them.

    Raises:
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, READ_BYTES):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts).decode().strip()


def write_file(path: str, value: str) -> None:
    """Write a value of the kernel's, in one write.

    Raises:
        OSError: the kernel refuses it.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
