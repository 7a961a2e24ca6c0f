"""Copy a stream between a pipe and a file in a thread, past the page cache where asked.

Owns: the buffer and the alignment that O_DIRECT asks for. May touch: the descriptors it is given.
May not touch: the loop: these functions block, and end when their pipe or `stop` does.

The file is not QEMU's to write: a guest that has broken out of QEMU could else write an XML of its
choice in front of its memory, which the next restore would believe.
"""

from __future__ import annotations

import mmap
import os
import select
from typing import Final

BUFFER: Final = 1 << 20  # bytes; libvirt's iohelper has the same
ALIGNMENT: Final = 4096  # of offsets, lengths and memory for O_DIRECT


class CopyStopped(Exception):
    """The stop descriptor became readable before the stream had ended."""


def pipe_to_file(source: int, target: int, head: bytes, *, direct: bool, stop: int) -> int:
    """Write a head and then all that comes from a pipe.

    Args:
        source: the pipe's reading end.
        target: a file at its beginning, or a pipe that is not blocking.
        head: what precedes the stream.
        direct: the file is open with O_DIRECT: whole blocks are written, and the file is cut to its
            length at the end.
        stop: becomes readable when the copy is no longer wanted.

    Returns:
        The file's length, in bytes.

    Raises:
        OSError: of the file; CopyStopped.
    """
    total = 0
    view = _buffer()
    filled = 0
    for start in range(0, len(head), BUFFER):
        piece = head[start : start + BUFFER]
        view[: len(piece)] = piece
        filled = len(piece)
        if filled == BUFFER:
            total += _write_all(target, view, stop)
            filled = 0
    while count := _read(source, view[filled:], stop):
        filled += count
        if filled == BUFFER:
            total += _write_all(target, view, stop)
            filled = 0
    if filled:
        padded = -(-filled // ALIGNMENT) * ALIGNMENT if direct else filled
        view[filled:padded] = bytes(padded - filled)
        _write_all(target, view[:padded], stop)
        total += filled
    if direct:
        os.ftruncate(target, total)
    return total


def file_to_pipe(source: int, offset: int, target: int, *, direct: bool, stop: int) -> None:
    """Write a file from an offset on to a pipe.

    Raises:
        OSError: of the file, or EPIPE: nobody reads the pipe; CopyStopped.
    """
    at = offset // ALIGNMENT * ALIGNMENT if direct else offset
    skipped = offset - at
    view = _buffer()
    while count := os.preadv(source, [view], at):
        at += count
        left = view[skipped:count]
        skipped = 0
        _write_all(target, left, stop)


def _buffer() -> memoryview:
    """Make a buffer at a page's beginning; it ends with its last reference, a traceback's too."""
    return memoryview(mmap.mmap(-1, BUFFER))


def _read(source: int, view: memoryview, stop: int) -> int:
    _wait(source, select.POLLIN, stop)
    return os.readv(source, [view])


def _wait(fd: int, event: int, stop: int) -> None:
    poller = select.poll()
    poller.register(fd, event)
    poller.register(stop, select.POLLIN)
    if any(ready == stop for ready, _ in poller.poll()):
        raise CopyStopped


def _write_all(target: int, view: memoryview, stop: int) -> int:
    left = view
    while left:
        try:
            left = left[os.write(target, left) :]
        except BlockingIOError:  # a pipe that nobody reads now; a file never says so
            _wait(target, select.POLLOUT, stop)
    return len(view)
