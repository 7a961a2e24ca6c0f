"""Birth time of a file by statx(2); `os.stat` has none on Linux.

Owns: that system call. Source: statx(2).
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
STATX_BTIME: Final = 0x800
STATX_SIZE: Final = 256  # of struct statx
BTIME_OFFSET: Final = 80  # of stx_btime
_TIME: Final = struct.Struct("=qI")
_MASK: Final = struct.Struct("=I")

_statx = getattr(ctypes.CDLL(None), "statx", None)


def btime_ns(file: str | int) -> int | None:
    """Return a file's birth time in ns since the epoch; None on file systems without one.

    Args:
        file: its path, or a descriptor of it.
    """
    if _statx is None:
        return None
    buffer = ctypes.create_string_buffer(STATX_SIZE)
    if isinstance(file, int):
        failed = _statx(file, b"", AT_EMPTY_PATH, STATX_BTIME, buffer)
    else:
        failed = _statx(AT_FDCWD, os.fsencode(file), 0, STATX_BTIME, buffer)
    if failed:
        return None
    if not _MASK.unpack_from(buffer.raw)[0] & STATX_BTIME:
        return None
    seconds, rest = _TIME.unpack_from(buffer.raw, BTIME_OFFSET)
    return int(seconds) * 10**9 + int(rest)
