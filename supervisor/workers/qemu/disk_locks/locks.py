"""Takes the locks of a guest's images, and has QEMU hold them.

Owns: locking and unlocking. May touch: the locked files, but for their bytes; QEMU's descriptors.

A lock is the kernel's, of one open file description (F_OFD_SETLK), at the byte that virtlockd locks
too: hosts with libvirt's daemon and with this one keep each other off. QEMU gets the descriptor
(`getfd`), so the kernel drops the lock when QEMU ends and never before: it outlives this worker,
and nothing has to take it over. What QEMU holds is read from /proc (fdinfo), not remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import layers
from conf.errors import ConfError
from conf.settings import QemuConfig
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.disk_locks.resources import (
    LockResource,
    disk_resources,
    domain_resources,
)
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.monitor import QmpError

#: struct flock: type, whence, start, length, pid. virtlockd's byte; QEMU's own are from 100 on.
FLOCK: Final = struct.Struct("hhqqi4x")
START: Final = 0
LENGTH: Final = 1
ATTEMPTS: Final = 10  # at a lock file that others remove

log = logging.getLogger(__name__)

TakenLock = tuple[LockResource, int]  # with the descriptor that has the lock


def take(resource: LockResource) -> int:
    """Lock a file; the descriptor that has the lock. It blocks.

    Raises:
        VirError: RESOURCE_BUSY: another guest has the lock; SYSTEM_ERROR: there is no such file.
    """
    if resource.folder:
        _make_folder(resource.folder)
    for _ in range(ATTEMPTS):
        descriptor = _open(resource)
        try:
            _lock(descriptor, resource)
            # virtlockd removes a lock file of which nobody holds the lock any more.
            if not resource.is_created or _is_there(descriptor, resource.path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise _busy(resource)


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except FileExistsError:
        detail = f"Lockspace location {path} exists, but is not a directory"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LOCKSPACE) from None
    except OSError as error:
        raise _system_error(f"Unable to create lockspace {path}", error) from error


def _open(resource: LockResource) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if resource.is_created else 0)
    try:
        return os.open(resource.path, flags, 0o600)
    except OSError as error:
        raise _system_error(f"Unable to open/create resource {resource.path}", error) from error


def _lock(descriptor: int, resource: LockResource) -> None:
    kind = fcntl.F_RDLCK if resource.shared else fcntl.F_WRLCK
    lock = FLOCK.pack(kind, os.SEEK_SET, START, LENGTH, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise _busy(resource) from None
        raise _system_error(f"Unable to acquire lock on '{resource.path}'", error) from error


def _is_there(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _busy(resource: LockResource) -> VirError:
    detail = f"Lockspace resource '{resource.name}' is locked"
    return VirError(ErrorCode.RESOURCE_BUSY, detail, ErrorDomain.LOCKSPACE)


def _system_error(detail: str, error: OSError) -> VirError:
    text = f"{detail}: {error.strerror}"
    return VirError(ErrorCode.SYSTEM_ERROR, text, ErrorDomain.LOCKSPACE, int1=error.errno or -1)


def is_held(resource: LockResource, pid: int) -> bool:
    """Return whether a process has the lock of a file. Source: proc(5), /proc/PID/fdinfo."""
    try:
        found = os.stat(resource.path)
    except OSError:
        return False
    folder = Path(f"/proc/{pid}")
    for entry in (folder / "fdinfo").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.path.samestat(os.stat(folder / "fd" / entry.name), found) and any(
                _is_ours(line.split()) for line in entry.read_text().splitlines()
            ):
                return True
    return False


def _is_ours(fields: list[str]) -> bool:
    """Return whether a line of fdinfo is a lock of this module's.

    It is `lock: 1: OFDLCK ADVISORY WRITE -1 00:2f:1234 0 0`, with the first and last byte.
    """
    return fields[:1] == ["lock:"] and fields[2:3] == ["OFDLCK"] and fields[-2:] == ["0", "0"]


async def lock_for_start(
    config: QemuConfig, domain: Domain, closing: contextlib.ExitStack
) -> list[TakenLock]:
    """Lock what a guest that starts writes to; `hand_over` follows before `closing` closes it.

    Raises:
        ConfError: it needs a lease.
        VirError: RESOURCE_BUSY, SYSTEM_ERROR.
    """
    if not is_enabled(config):
        return []
    resources = domain_resources(domain, config.lockd)
    return await asyncio.to_thread(_take_all, resources, closing)


def _take_all(resources: Sequence[LockResource], closing: contextlib.ExitStack) -> list[TakenLock]:
    taken: list[TakenLock] = []
    for resource in resources:
        descriptor = take(resource)
        closing.callback(os.close, descriptor)
        taken.append((resource, descriptor))
    return taken


async def hand_over(guest: Guest, taken: Iterable[TakenLock]) -> None:
    """Have QEMU hold locks; the caller closes its descriptors.

    Raises:
        QmpError, VirError: QEMU does not take them.
    """
    for resource, descriptor in taken:
        await guest.monitor.execute("getfd", {"fdname": resource.fd_name}, fd=descriptor)


def is_enabled(config: QemuConfig) -> bool:
    """Return whether guests lock their images."""
    return config.lock_manager == "lockd"


async def lock_device(guest: Guest, device: object) -> list[LockResource]:
    """Lock the image of a disk that a running guest gets.

    Returns:
        What was locked now, and not before.

    Raises:
        VirError: RESOURCE_BUSY, SYSTEM_ERROR.
    """
    if not is_enabled(guest.context.config) or not isinstance(device, Disk):
        return []
    resources = disk_resources(device, guest.context.config.lockd)
    return [resource for resource in resources if await _lock_now(guest, resource)]


async def _lock_now(guest: Guest, resource: LockResource) -> bool:
    try:
        descriptor = await asyncio.to_thread(take, resource)
    except VirError as error:
        if error.code is not ErrorCode.RESOURCE_BUSY:
            raise
        if await asyncio.to_thread(is_held, resource, guest.process.pid):
            return False
        raise
    try:
        await hand_over(guest, [(resource, descriptor)])
    finally:
        os.close(descriptor)
    return True


async def unlock(guest: Guest, resources: Iterable[LockResource]) -> None:
    """Have QEMU give locks up, as far as it holds them."""
    for resource in resources:
        with contextlib.suppress(QmpError):  # it holds none
            await guest.monitor.execute("closefd", {"fdname": resource.fd_name})


async def unlock_unused(guest: Guest, disks: Iterable[Disk]) -> None:
    """Give the locks of images up that the guest and its jobs do not write to any more."""
    if not is_enabled(guest.context.config):
        return
    config = guest.context.config.lockd
    used = {resource.path for resource in written_resources(guest)}
    found = [item for disk in disks for item in disk_resources(disk, config)]
    try:
        await unlock(guest, [item for item in found if item.path not in used])
    except VirError as error:  # the monitor is lost: QEMU has the locks until it ends
        log.warning("%s: locks of images are kept: %s", guest.name, error)


async def unlock_lower(guest: Guest, disks: Iterable[Disk]) -> None:
    """Give the locks of images below disks' top ones up, which nothing writes to any more."""
    if is_enabled(guest.context.config):
        lower = [layer for disk in disks for layer in layers(disk)[1:]]
        await unlock_unused(guest, [Disk(type=one.type, source=one.source) for one in lower])


def written_resources(guest: Guest) -> list[LockResource]:
    """List what a guest and the copies of its disks write to."""
    config = guest.context.config.lockd
    found = [item for disk in guest.domain.devices.disks for item in disk_resources(disk, config)]
    for disk in guest.domain.devices.disks:
        if disk.mirror is not None and disk.mirror.source is not None:
            target = Disk(type=disk.mirror.type or "file", source=disk.mirror.source)
            found += disk_resources(target, config)
    return found


async def restore_locks(guest: Guest) -> None:
    """Lock what a guest writes to that another worker, or libvirt's daemon, left unlocked.

    Its images are open: a lock that cannot be had is logged, and the guest runs on.
    """
    if not is_enabled(guest.context.config):
        return
    try:
        resources = domain_resources(guest.domain, guest.context.config.lockd)
        for resource in resources:
            await _lock_now(guest, resource)
    except (ConfError, VirError, QmpError) as error:
        log.warning("%s: its images are not locked: %s", guest.name, error)
