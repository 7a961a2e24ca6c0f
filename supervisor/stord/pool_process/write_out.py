"""Writes a new file's data out before the file gets its name. Blocks.

Owns: how that is done on which file system. May touch: the descriptor it is given.

After a power failure a name must not lead to a file without its data. fsync(2) before the rename
and of the directory after it are two commits of the journal. ext4 and XFS need only the second:
each has entered what the data's blocks need into the journal before it says that they are written,
so that whichever commit has the rename has that as well, and flushes the device's cache first.
Others promise no such order; btrfs may enter it later.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

#: Linux, magic.h: `f_type` of statfs(2).
EXT4: Final = 0xEF53
XFS: Final = 0x58465342
IN_ORDER: Final = (EXT4, XFS)
#: sync_file_range(2): WAIT_BEFORE, WRITE and WAIT_AFTER, which make it write all and wait for it.
WRITE_AND_WAIT: Final = 1 | 2 | 4
STATFS_SIZE: Final = 256  # more than any architecture's struct statfs, whose first word is f_type

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def write_out(fd: int) -> None:
    """Have a file's data on disk before, or with, the next change of its directory that is.

    Raises:
        OSError: it cannot be written.
    """
    if filesystem_type(fd) in IN_ORDER and _libc.sync_file_range(fd, 0, 0, WRITE_AND_WAIT) == 0:
        return
    os.fsync(fd)


def filesystem_type(fd: int) -> int:
    """Return the `f_type` of an open file's file system; 0: the kernel does not say."""
    buffer = ctypes.create_string_buffer(STATFS_SIZE)
    if _libc.fstatfs(fd, buffer) != 0:
        return 0
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF
