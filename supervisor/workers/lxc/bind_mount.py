"""Bind-mount a file of the host in a running container, and unmount it.

Owns: the system calls of that. May touch: the container's files, without following symbolic links.

move_mount(2) works only within the caller's mount namespace, so a thread enters the container's. It
unshares its working directory first, as setns(2) demands, and exits afterwards. It resolves no path
there: every file it needs is open before.
Source: open_tree(2), move_mount(2), setns(2), umount2(2), setfsuid(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from supervisor.runtime.mounts import (
    LIBC,
    attach_mount,
    checked,
    clone_mount,
    enter_mounts,
    in_own_thread,
)
from supervisor.runtime.pidfd import GuestProcess
from supervisor.runtime.procfs import start_time

FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8
FOLDER_MODE: Final = 0o755  # of missing parent directories


def bind(init: GuestProcess, source: str, target: str, owner: tuple[int, int]) -> None:
    """Bind-mount a file of the host over a new, empty file of the container.

    Args:
        init: the container's init.
        source: on the host.
        target: in the container; it must not exist.
        owner: the host's uid and gid of the container's root, who owns what is made.

    Raises:
        OSError: it fails; the new file is removed.
    """
    tree = clone_mount(source)
    try:
        in_own_thread(lambda: _bind(init, tree, target, owner))
    finally:
        os.close(tree)


def _bind(init: GuestProcess, tree: int, target: str, owner: tuple[int, int]) -> None:
    name = PurePosixPath(target).name
    with _folder(init, target, owner) as (mounts, folder):
        created = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_WRONLY
        os.close(os.open(name, created, 0, dir_fd=folder))
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            enter_mounts(mounts)
            attach_mount(tree, place)
        except OSError:
            os.unlink(name, dir_fd=folder)
            raise
        finally:
            os.close(place)


def unbind(init: GuestProcess, target: str) -> None:
    """Unmount and unlink such a file; one that the container has removed is no error.

    Raises:
        OSError: it cannot be removed.
    """

    def work() -> None:
        name = PurePosixPath(target).name
        with contextlib.suppress(FileNotFoundError), _folder(init, target) as (mounts, folder):
            enter_mounts(mounts)
            os.fchdir(folder)
            with contextlib.suppress(OSError):  # EINVAL: nothing is mounted there
                checked(LIBC.umount2(os.fsencode(name), MNT_DETACH | UMOUNT_NOFOLLOW))
            os.unlink(name, dir_fd=folder)

    in_own_thread(work)


@contextlib.contextmanager
def _folder(
    init: GuestProcess, target: str, owner: tuple[int, int] | None = None
) -> Iterator[tuple[int, int]]:
    """Open a container's mount namespace and the parent directory of a path in it.

    Args:
        init: the container's init.
        target: the path.
        owner: makes missing directories, as this uid and gid; None: they must exist.

    Raises:
        OSError: it cannot be opened, or a component is a symbolic link.
    """
    if ".." in PurePosixPath(target).parts:
        raise OSError(errno.EINVAL, "the path has .. in it")
    with contextlib.ExitStack() as opened:
        mounts = os.open(f"/proc/{init.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        opened.callback(os.close, mounts)
        here = os.open(f"/proc/{init.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, here)
        if start_time(init.pid) != init.identity.start:
            raise OSError(errno.ESRCH, "the container has stopped")
        if owner is not None:
            LIBC.setfsgid(owner[1])  # per thread; it drops CAP_DAC_OVERRIDE and the like, too
            LIBC.setfsuid(owner[0])
        for part in PurePosixPath(target.lstrip("/")).parent.parts:
            if owner is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, FOLDER_MODE, dir_fd=here)
            here = os.open(part, FOLDER, dir_fd=here)
            opened.callback(os.close, here)
        yield mounts, here
