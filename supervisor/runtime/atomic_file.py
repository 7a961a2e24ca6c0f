"""Atomic, durable file writes: a crash or power loss leaves the old contents or the new.

Owns: the order of write, fsync and rename. May not touch: what is written.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_file(
    path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True, reserve: bool = False
) -> None:
    """Replace a file's contents; on return they survive a power loss.

    Args:
        path: the file.
        data: all of it.
        mode: its permissions.
        durable: False for state that a power loss ends anyway, as that of running guests: the
            file outlives every process, but nothing waits for the disk.
        reserve: have the file system allocate the blocks first. ext4 writes a file that it has not
            allocated yet when it replaces another one, which takes longer than all the rest.

    Raises:
        OSError: nothing has changed; it names the file.
    """
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}.new"
    try:
        _write(temporary, data, mode, durable=durable, reserve=reserve and bool(data))
        os.rename(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise
    if durable:
        sync_folder(folder)


def swap_file(path: Path, data: bytes, *, mode: int = 0o600) -> int:
    """Replace a file's contents, as `write_file` with `reserve` and without a wait for the disk.

    The file that was there is kept open: the last close frees its blocks, for which ext4 waits for
    its journal, longer than all the rest takes. The caller does that when nobody waits for it.

    Returns:
        A descriptor of the former file, which the caller closes; -1: there was none.

    Raises:
        OSError: nothing has changed; it names the file.
    """
    former = -1
    with contextlib.suppress(OSError):  # too many open files: what is slow is done at once then
        former = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        write_file(path, data, mode=mode, durable=False, reserve=True)
    except BaseException:
        if former >= 0:
            os.close(former)
        raise
    return former


def _write(path: str, data: bytes, mode: int, *, durable: bool, reserve: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, mode)
    try:
        if reserve:
            os.posix_fallocate(fd, 0, len(data))
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        if durable:
            os.fdatasync(fd)
    finally:
        os.close(fd)


def remove_file(path: Path) -> None:
    """Unlink a file durably; one that is not there is no error.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_folder(os.path.dirname(path))


def make_folder(path: Path, *, mode: int = 0o777) -> None:
    """Create a folder and its parents; on return their names survive a power loss.

    Args:
        path: one that is there already is left as it is.
        mode: of the folder; its parents get the default.

    Raises:
        OSError: it cannot be created.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=mode, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path | str) -> None:
    """Make the names in a folder survive a power loss: fsync of a file does not cover its name."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
