"""Bind-mount a file of the host in a running container, and unmount it.

Owns: the system calls of that. May touch: the container's files, without following symbolic links.

move_mount(2) works only within the caller's mount namespace, so a thread enters the container's. It
unshares its working directory first, as setns(2) demands, and exits afterwards. It resolves no path
there: every file it needs is open before.
Source: open_tree(2), move_mount(2), setns(2), umount2(2), setfsuid(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Final

from supervisor.runtime.pidfd import GuestProcess
from supervisor.runtime.procfs import start_time

LIBC: Final = ctypes.CDLL(None, use_errno=True)
FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
AT_FDCWD: Final = -100
OPEN_TREE_CLONE: Final = 1
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x04
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
CLONE_FS: Final = 0x200
CLONE_NEWNS: Final = 0x20000
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
    tree = _check(LIBC.open_tree(AT_FDCWD, os.fsencode(source), OPEN_TREE_CLONE | os.O_CLOEXEC))
    try:
        run_in_thread(lambda: _bind(init, tree, target, owner))
    finally:
        os.close(tree)


def _bind(init: GuestProcess, tree: int, target: str, owner: tuple[int, int]) -> None:
    name = PurePosixPath(target).name
    with _folder(init, target, owner) as (mounts, folder):
        created = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_WRONLY
        os.close(os.open(name, created, 0, dir_fd=folder))
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            _enter_mount_namespace(mounts)
            how = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
            _check(LIBC.move_mount(tree, b"", place, b"", how))
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
            _enter_mount_namespace(mounts)
            os.fchdir(folder)
            with contextlib.suppress(OSError):  # EINVAL: nothing is mounted there
                _check(LIBC.umount2(os.fsencode(name), MNT_DETACH | UMOUNT_NOFOLLOW))
            os.unlink(name, dir_fd=folder)

    run_in_thread(work)


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


def _enter_mount_namespace(mounts: int) -> None:
    """Enter the container's mount namespace with this thread."""
    _check(LIBC.unshare(CLONE_FS))
    _check(LIBC.setns(mounts, CLONE_NEWNS))


def _check(result: int) -> int:
    """Check the result of a system call.

    Raises:
        OSError: it failed.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def run_in_thread(work: Callable[[], None]) -> None:
    """Call a function in a thread of its own; its exception is raised here."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (it is raised in the caller)
            failed.append(error)

    thread = threading.Thread(target=run, name="binding")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
