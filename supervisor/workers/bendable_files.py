"""Files and folders that QEMU's user may replace while the worker, as root, reaches for them.

Owns: doing so without following a link. May touch: the paths that it is given.

A guest that has taken its QEMU over may write to the folders of every guest, as they have one
user: a link in place of a file would have root read, write or give away another one. Hard links
are no way around it: the kernel refuses those to files that one may not write
(/proc/sys/fs/protected_hardlinks).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from supervisor.runtime.emulator_user import User

MAX_LINKS: Final = 40  # as the kernel
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_private_folder(path: Path, user: User, mode: int) -> None:
    """Make a folder for QEMU's user; its parents are made too, for all to search.

    Raises:
        OSError: it cannot be made, or a link is there.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, FOLDER)
    try:
        os.fchmod(fd, mode)
        if not user.is_own:
            os.fchown(fd, user.uid, user.gid)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes, user: User) -> None:
    """Write a file for QEMU's user alone; what is there, or is put there meanwhile, is replaced.

    It is complete when it has its name.

    Raises:
        OSError: it cannot be written.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    partial = f".{path.name}.new"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(partial, flags, 0o600, dir_fd=folder)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if not user.is_own:
                os.fchown(file.fileno(), user.uid, user.gid)
        os.rename(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # a write names none
        raise
    finally:
        os.close(folder)


def open_plain_file(path: Path) -> int:
    """Open a file that QEMU has written, to read it; the caller closes it.

    Raises:
        OSError: it is not there, or no plain file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "it is no plain file", str(path))


def open_unread(path: str, user: User) -> int:
    """Open a file to change its owner alone; opening a tape for real has side effects.

    Links to it are followed, as administrators make them, but none that QEMU's user has made.

    Raises:
        OSError: it is not there; EACCES: a link is QEMU's user's.
    """
    name = path
    for _ in range(MAX_LINKS):
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if not stat.S_ISLNK(status.st_mode):
                return os.dup(fd)
            if status.st_uid == user.uid and not user.is_own:
                raise OSError(errno.EACCES, "it is a link that QEMU's user has made", name)
            name = os.path.join(os.path.dirname(name), os.readlink("", dir_fd=fd))
        finally:
            os.close(fd)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def give_socket(path: Path, user: User) -> None:
    """Give a socket's file to QEMU's user.

    Raises:
        OSError: it cannot be given.
    """
    if not user.is_own:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)
