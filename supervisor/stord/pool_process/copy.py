"""Copies bytes between open files and keeps their holes. Blocks.

Owns: the choice between copy_file_range(2) and reading and writing.
May touch: the descriptors it is given.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Final

BLOCK: Final = 1024 * 1024
ZEROS: Final = bytes(BLOCK)
PUNCH: Final = 0x1 | 0x2  # FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
KERNEL_COPY: Final = 128 * BLOCK  # bytes of one call: SIGKILL takes effect between calls
#: Other file systems (EXDEV), block devices (EINVAL), swap files and append-only files.
NO_COPY_FILE_RANGE: Final = (
    errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF,
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def data_segments(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the data segments of a file between two offsets as (start, end).

    Block devices and some file systems have no SEEK_DATA: all of it is data.
    """
    at = start
    while at < end:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
            stop = os.lseek(fd, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return
            begin, stop = at, end
        if begin >= end:
            return
        yield begin, min(stop, end)
        at = stop


def copy_bytes(source: int, target: int, size: int, *, keep_holes: bool) -> None:
    """Copy the first `size` bytes to the same offsets.

    Args:
        source: to read.
        target: to write; with `keep_holes` an empty file.
        size: bytes.
        keep_holes: leave holes where the source has them, and where it has blocks of zeros.

    Raises:
        OSError: the kernel refuses.
    """
    segments = data_segments(source, 0, size) if keep_holes else iter([(0, size)])
    by_kernel = keep_holes
    for start, end in segments:
        at = start
        while by_kernel and at < end:
            moved = _copy_file_range(source, target, at, min(end - at, KERNEL_COPY))
            at += max(moved, 0)
            by_kernel = moved > 0
        if at < end:
            _read_and_write(source, target, at, end, keep_holes=keep_holes)


def _copy_file_range(source: int, target: int, at: int, count: int) -> int:
    """Copy in the kernel; return 0 where copy_file_range does not support these files."""
    try:
        return os.copy_file_range(source, target, count, at, at)
    except OSError as error:
        if error.errno in NO_COPY_FILE_RANGE:
            return 0
        raise


def _read_and_write(source: int, target: int, at: int, end: int, *, keep_holes: bool) -> None:
    while at < end:
        data = os.pread(source, min(BLOCK, end - at), at)
        if not data:  # the source was truncated meanwhile
            return
        if not keep_holes or data != ZEROS[: len(data)]:
            write_all(target, data, at)
        at += len(data)


def write_all(fd: int, data: bytes | memoryview, at: int) -> None:
    """Write all bytes at an offset; pwrite may write less than asked."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done


def write_zeros(fd: int, at: int, length: int) -> None:
    """Write zeros."""
    end = at + length
    while at < end:
        count = min(BLOCK, end - at)
        write_all(fd, ZEROS[:count] if count < BLOCK else ZEROS, at)
        at += count


def punch_hole(fd: int, at: int, length: int) -> None:
    """Deallocate a range; write zeros where the file system has no PUNCH_HOLE."""
    if length <= 0:
        return
    at_, length_ = ctypes.c_int64(at), ctypes.c_int64(length)
    if _libc.fallocate(fd, PUNCH, at_, length_) == 0:
        return
    if ctypes.get_errno() not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EINVAL):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    write_zeros(fd, at, length)
