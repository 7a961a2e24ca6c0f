"""When a file was made, which Python's own stat does not tell.

Owns: that question to the kernel. Source: statx(2).
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

AT_FDCWD: Final = -100
STATX_BTIME: Final = 0x800
SIZE: Final = 256  # of struct statx
BIRTH: Final = 80  # where the time is in it
_TIME: Final = struct.Struct("=qI")
_MASK: Final = struct.Struct("=I")

_statx = getattr(ctypes.CDLL(None), "statx", None)


def btime_ns(path: str) -> int | None:
    """When a file was made, in ns since the epoch; None where its file system does not say."""
    if _statx is None:
        return None
    buffer = ctypes.create_string_buffer(SIZE)
    if _statx(AT_FDCWD, os.fsencode(path), 0, STATX_BTIME, buffer) != 0:
        return None
    if not _MASK.unpack_from(buffer.raw)[0] & STATX_BTIME:
        return None
    seconds, rest = _TIME.unpack_from(buffer.raw, BIRTH)
    return int(seconds) * 10**9 + int(rest)
