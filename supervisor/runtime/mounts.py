"""Mounts and mount namespaces: the kernel's calls, for one thread at a time.

Owns: the calls. What is mounted where is the caller's.
Source: unshare(2), setns(2), fsopen(2), fsmount(2), open_tree(2), move_mount(2), mount(2).

A mount namespace is a thread's, once the thread has a working directory of its own (CLONE_FS): the
rest of the process stays where it is. The thread must end afterwards.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

LIBC: Final = ctypes.CDLL(None, use_errno=True)
AT_FDCWD: Final = -100
AT_RECURSIVE: Final = 0x8000
OPEN_TREE_CLONE: Final = 1
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x04
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
CLONE_FS: Final = 0x200
CLONE_NEWNS: Final = 0x20000
MS_REC: Final = 0x4000
MS_SLAVE: Final = 1 << 19
FSOPEN_CLOEXEC: Final = 1
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_CMD_CREATE: Final = 6
FSMOUNT_CLOEXEC: Final = 1
MOUNT_ATTR_NOSUID: Final = 2

T = TypeVar("T")


def checked(result: int) -> int:
    """Return the result of a call of the kernel.

    Raises:
        OSError: it failed.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def in_own_thread(work: Callable[[], T]) -> T:
    """Call a function in a thread of its own, and wait; its exception is raised here."""
    results: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  (it is raised in the caller)
            failed.append(error)

    thread = threading.Thread(target=run, name="mounts")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return results[0]


def unshare_mounts() -> None:
    """Give this thread a mount namespace of its own, which follows the host's later mounts.

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN.
    """
    checked(LIBC.unshare(CLONE_NEWNS))  # CLONE_FS is implied
    checked(LIBC.mount(b"none", b"/", None, MS_SLAVE | MS_REC, None))


def enter_mounts(namespace: int) -> None:
    """Enter the mount namespace of a descriptor with this thread.

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN and CAP_SYS_CHROOT.
    """
    checked(LIBC.unshare(CLONE_FS))
    checked(LIBC.setns(namespace, CLONE_NEWNS))


def make_tmpfs(options: Mapping[str, str]) -> int:
    """Make a tmpfs that is mounted nowhere yet; the caller closes the descriptor of its root.

    Raises:
        OSError: the kernel refuses.
    """
    context = checked(LIBC.fsopen(b"tmpfs", FSOPEN_CLOEXEC))
    try:
        for name, value in options.items():
            checked(LIBC.fsconfig(context, FSCONFIG_SET_STRING, name.encode(), value.encode(), 0))
        checked(LIBC.fsconfig(context, FSCONFIG_CMD_CREATE, None, None, 0))
        return checked(LIBC.fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID))
    finally:
        os.close(context)


def clone_mount(path: str, *, recursive: bool = False) -> int:
    """Copy a mount, or the part of one that begins at a path; the caller closes the descriptor.

    Raises:
        OSError: the kernel refuses.
    """
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return checked(LIBC.open_tree(AT_FDCWD, os.fsencode(path), flags))


def attach_mount(mount: int, place: int) -> None:
    """Mount a copy over the file or folder of a descriptor, in this thread's namespace.

    Raises:
        OSError: the kernel refuses.
    """
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    checked(LIBC.move_mount(mount, b"", place, b"", flags))
