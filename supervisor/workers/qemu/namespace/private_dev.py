"""Makes the private /dev of a guest, and changes it while QEMU runs.

Owns: the mount namespace that QEMU is spawned in, and what is in its /dev. May touch: those.

QEMU may be hostile by the time something is hotplugged. Its /dev is found by /proc/PID/root and is
changed only if it is the file system that was made at the start; all folders in it are root's, and
no link in it is followed.
Source: libvirt 9.0, qemu_namespace.c; mount_namespaces(7).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from supervisor.runtime.mounts import (
    LIBC,
    attach_mount,
    checked,
    clone_mount,
    enter_mounts,
    in_own_thread,
    make_tmpfs,
    unshare_mounts,
)
from supervisor.runtime.pidfd import ProcessIdentity
from supervisor.runtime.procfs import start_time
from supervisor.workers.qemu.namespace.dev_entries import (
    DEV,
    DevEntry,
    EntryKind,
    mounts_below_dev,
)

MOUNTINFO: Final = Path("/proc/self/mountinfo")
OPTIONS: Final = {"mode": "755", "size": "65536"}
FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ACL: Final = "system.posix_acl_access"
#: A mount that is gone meanwhile, or that may not be mounted elsewhere (MS_UNBINDABLE).
NOT_COPIED: Final = (errno.ENOENT, errno.EINVAL)
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

T = TypeVar("T")


class NamespaceError(Exception):
    """The kernel lets us make no private /dev."""


def kept_mounts() -> list[str]:
    """List the mounts below /dev that a private one keeps, such as /dev/pts and /dev/shm.

    A device that is a mount of its own, as in containers, is none: QEMU has it only if it needs it.
    """
    points = mounts_below_dev(MOUNTINFO.read_text(errors="surrogateescape"))
    return [point for point in points if not _is_device(point)]


def _is_device(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return True  # another mount hides it
    return stat.S_ISBLK(mode) or stat.S_ISCHR(mode)


def spawn_with_private_dev(
    entries: Sequence[DevEntry], kept: Sequence[str], spawn: Callable[[], T]
) -> tuple[T, int]:
    """Spawn a process that has a mount namespace with a /dev of its own.

    Args:
        entries: what is in that /dev.
        kept: mounts below the host's that are in it, too.
        spawn: makes the process; it is called in a thread of its own.

    Returns:
        What `spawn` returns, and the device number of the new /dev.

    Raises:
        NamespaceError: the kernel refuses; `spawn` was not called.
    """

    def work() -> tuple[T, int]:
        try:
            device = _build(entries, kept)
        except (OSError, AttributeError) as error:  # a libc before 2.36 has no fsopen
            raise NamespaceError(str(error)) from error
        return spawn(), device

    return in_own_thread(work)


def _build(entries: Sequence[DevEntry], kept: Sequence[str]) -> int:
    """Give this thread a namespace with a private /dev; the device number of the latter."""
    unshare_mounts()
    with contextlib.ExitStack() as opened:
        dev = make_tmpfs(OPTIONS)
        opened.callback(os.close, dev)
        clones: list[tuple[int, int]] = []
        for point in kept:
            try:
                clones.append(_prepare_mount(dev, point, opened, recursive=True))
            except OSError as error:
                if error.errno not in NOT_COPIED:
                    raise
        for entry in entries:
            if entry.kind is EntryKind.BIND:
                with contextlib.suppress(FileNotFoundError):
                    clones.append(_prepare_mount(dev, entry.path, opened))
            else:
                _make(dev, entry, clones, opened)
        _check_openable(dev)
        attach_mount(dev, _closed_later(os.open(DEV, FOLDER), opened))
        for clone, place in clones:
            attach_mount(clone, place)
        return os.fstat(dev).st_dev


def _check_openable(dev: int) -> None:
    """Refuse a file system whose device nodes cannot be opened: in a user namespace.

    Raises:
        OSError: EACCES.
    """
    with contextlib.suppress(FileNotFoundError):
        os.close(os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=dev))


def _closed_later(fd: int, opened: contextlib.ExitStack) -> int:
    opened.callback(os.close, fd)
    return fd


def _prepare_mount(
    dev: int, path: str, opened: contextlib.ExitStack, *, recursive: bool = False
) -> tuple[int, int]:
    """Copy a mount of the host, and make the file or folder that it is put over."""
    clone = _closed_later(clone_mount(path, recursive=recursive), opened)
    parts = path.removeprefix(f"{DEV}/").split("/")
    folder = _closed_later(_open_folder(dev, parts[:-1], make=True), opened)
    if stat.S_ISDIR(os.fstat(clone).st_mode):
        with contextlib.suppress(FileExistsError):
            os.mkdir(parts[-1], 0o755, dir_fd=folder)
    else:
        _touch(parts[-1], folder)
    place = os.open(parts[-1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    return clone, _closed_later(place, opened)


def _touch(name: str, folder: int) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(name, flags, 0o600, dir_fd=folder))


def _make(
    dev: int, entry: DevEntry, clones: list[tuple[int, int]], opened: contextlib.ExitStack
) -> None:
    """Make a node or link; where the kernel lets us make no node, the host's is put there."""
    folder = _closed_later(_open_folder(dev, entry.parts[:-1], make=True), opened)
    try:
        make_entry(folder, entry)
    except PermissionError:  # EPERM: no CAP_MKNOD
        clones.append(_prepare_mount(dev, entry.path, opened))


def make_entry(folder: int, entry: DevEntry) -> None:
    """Make a node or link in a folder; what is there under its name is replaced.

    Raises:
        OSError: it cannot be made.
    """
    name = entry.parts[-1]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    if entry.kind is EntryKind.LINK:
        os.symlink(entry.target, name, dir_fd=folder)
        return
    os.mknod(name, stat.S_IFMT(entry.mode) | 0o600, entry.device, dir_fd=folder)
    os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
    os.chmod(name, stat.S_IMODE(entry.mode), dir_fd=folder)  # mknod's mode is masked by the umask
    with contextlib.suppress(OSError):  # ENODATA: it has none
        os.setxattr(f"/proc/self/fd/{folder}/{name}", ACL, os.getxattr(entry.path, ACL))


def _open_folder(dev: int, parts: Sequence[str], *, make: bool = False) -> int:
    """Open a folder of a private /dev, which the caller closes.

    Raises:
        OSError: it is not there, or a link or a mount is on the way.
    """
    here = os.dup(dev)
    own = os.fstat(dev).st_dev
    for part in parts:
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=here)
            below = os.open(part, FOLDER, dir_fd=here)
        finally:
            os.close(here)
        here = below
        if os.fstat(here).st_dev != own:
            os.close(here)
            raise OSError(errno.EXDEV, "another file system is mounted there", part)
    return here


# While QEMU runs.


def add_entries(process: ProcessIdentity, device: int, entries: Iterable[DevEntry]) -> None:
    """Add entries to the /dev of a running QEMU.

    Args:
        process: QEMU's.
        device: number of the /dev that was made at its start.
        entries: what to add; what is there is replaced.

    Raises:
        OSError: it cannot be done; ESRCH: QEMU has ended.
    """
    with _running_dev(process, device) as dev, contextlib.ExitStack() as opened:
        clones: list[tuple[int, int]] = []
        for entry in entries:
            if entry.kind is EntryKind.BIND:
                clones.append(_replace_mount(process, dev, entry, opened))
            else:
                _make(dev, entry, clones, opened)
        if clones:
            _in_namespace(process, lambda: _attach_all(clones))


def _replace_mount(
    process: ProcessIdentity, dev: int, entry: DevEntry, opened: contextlib.ExitStack
) -> tuple[int, int]:
    with contextlib.suppress(FileNotFoundError):
        _remove(process, dev, entry)
    return _prepare_mount(dev, entry.path, opened)


def _attach_all(clones: Iterable[tuple[int, int]]) -> None:
    for clone, place in clones:
        attach_mount(clone, place)


def remove_entries(process: ProcessIdentity, device: int, entries: Iterable[DevEntry]) -> None:
    """Remove entries from the /dev of a running QEMU; a missing one is no error.

    Raises:
        OSError: it cannot be done; ESRCH: QEMU has ended.
    """
    with _running_dev(process, device) as dev:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                _remove(process, dev, entry)


def _remove(process: ProcessIdentity, dev: int, entry: DevEntry) -> None:
    name = entry.parts[-1]
    folder = _open_folder(dev, entry.parts[:-1])
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if status.st_dev != os.fstat(dev).st_dev:
            _in_namespace(process, lambda: _unmount(folder, name))
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)


def _unmount(folder: int, name: str) -> None:
    os.fchdir(folder)
    checked(LIBC.umount2(os.fsencode(name), MNT_DETACH | UMOUNT_NOFOLLOW))


def _in_namespace(process: ProcessIdentity, work: Callable[[], None]) -> None:
    """Call a function in a thread that is in QEMU's mount namespace."""
    namespace = os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def enter() -> None:
        enter_mounts(namespace)
        work()

    try:
        in_own_thread(enter)
    finally:
        os.close(namespace)


@contextlib.contextmanager
def _running_dev(process: ProcessIdentity, device: int) -> Iterator[int]:
    """Open the /dev of a running QEMU.

    Raises:
        OSError: ESRCH: QEMU has ended; ESTALE: it has another /dev than at its start.
    """
    with contextlib.ExitStack() as opened:
        root = os.open(f"/proc/{process.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, root)
        if start_time(process.pid) != process.start:
            raise OSError(errno.ESRCH, "QEMU has ended")
        dev = os.open(DEV.lstrip("/"), FOLDER, dir_fd=root)
        opened.callback(os.close, dev)
        if os.fstat(dev).st_dev != device:
            raise OSError(errno.ESTALE, "its /dev is not the one that it was started with")
        yield dev
