"""A file that is rotated at a size: NAME, then NAME.0, the newest of the old, NAME.1 and so on.

Owns: the file and its rotated ones. May touch: them, through a descriptor of their folder.
May not touch: where the bytes come from.
Source: libvirt 9.0, virtlogd.conf "max_size", "max_backups"; virRotatingFileWriterAppend.

QEMU's user may write to the folder: nothing at these names is followed if it is a link, and what is
no plain file is written to, but neither rotated nor removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from typing import Final

from conf.settings import LogdConfig

MODE: Final = 0o600
LINE: Final = 80  # so many bytes at most are kept from the end of a file not to split a line
FLAGS: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    | os.O_NOCTTY  # a terminal at the path does not become the daemon's
    | os.O_NONBLOCK  # a FIFO without a reader is an error
    | os.O_NOFOLLOW
)  # fmt: skip


class RotatingFile:
    """An open file. Its methods block: they are called in a thread."""

    def __init__(self, path: str, limits: Callable[[], LogdConfig], *, truncate: bool) -> None:
        """Open the file, which is created.

        Args:
            path: where it is.
            limits: the settings, which may change meanwhile.
            truncate: whether it and its rotated ones are removed first.

        Raises:
            OSError: it cannot be opened.
        """
        self.path = path
        self._limits = limits
        folder, self._name = os.path.split(path)
        self._folder = os.open(folder or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if truncate:
                self._remove_all()
            self._fd = self._open()
        except BaseException:
            os.close(self._folder)
            raise
        self._is_plain = stat.S_ISREG(os.fstat(self._fd).st_mode)

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)
        os.close(self._folder)

    def write(self, data: bytes) -> None:
        """Append data, and rotate the file where it would exceed its size.

        Raises:
            OSError: not all is written, as on a full disk.
        """
        left = memoryview(data)
        while left:
            count, is_full = len(left), False
            if self._is_plain:
                room = self._limits().max_size - os.fstat(self._fd).st_size
                count, is_full = split(left, room)
            written = 0
            while written < count:
                written += os.write(self._fd, left[written:count])
            left = left[count:]
            if is_full:
                self._rotate()

    def tail(self, count: int) -> bytes:
        """Read the last bytes, at most so many.

        Raises:
            OSError: it cannot be read.
        """
        if not self._is_plain or count <= 0:
            return b""
        fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            return os.pread(fd, count, max(0, size - count))
        finally:
            os.close(fd)

    def _open(self) -> int:
        return os.open(self._name, FLAGS, MODE, dir_fd=self._folder)

    def _rotate(self) -> None:
        """Rename the file and those before it, and begin another."""
        names = self._names()
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            with contextlib.suppress(FileNotFoundError):
                os.rename(newer, older, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        if len(names) == 1:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._folder)
        fresh = self._open()
        os.close(self._fd)
        self._fd = fresh
        self._is_plain = stat.S_ISREG(os.fstat(fresh).st_mode)

    def _remove_all(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                return
        for name in self._names():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)

    def _names(self) -> list[str]:
        """List its name and those of the rotated ones, the newest first."""
        return [self._name, *(f"{self._name}.{n}" for n in range(self._limits().max_backups))]


def split(data: memoryview, room: int) -> tuple[int, bool]:
    """Decide how many bytes go to a file that has so much room, and whether it is full then.

    A line is not split between two files if it ends within the last 80 bytes. A file that is larger
    than allowed, as its limit was lowered, gets nothing more.
    """
    if room < 0:
        return 0, True
    if len(data) <= room:
        return len(data), False
    end = bytes(data[max(0, room - LINE) : room])
    newline = end.rfind(b"\n")
    return (room if newline < 0 else room - len(end) + newline + 1), True
