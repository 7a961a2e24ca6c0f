"""Content of volumes: create, copy, resize, wipe.

Owns: how bytes are written. May touch: the requests' paths.
Runs in a dedicated helper process, which is killed when the request is cancelled; stord removes
the temporary file that it leaves.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import stat
from typing import Final

from ipc import Ack, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.stord.pool_process.copy import copy_bytes, write_zeros
from supervisor.stord.pool_process.errors import system_errors
from supervisor.stord.pool_process.messages import CopyRaw, CreateRaw, Resize, Wipe
from supervisor.stord.pool_process.safe_open import open_volume, size_of
from supervisor.stord.pool_process.write_out import write_out

FICLONE: Final = 0x40049409  # linux/fs.h
FS_IOC_GETFLAGS: Final = 0x80086601
FS_IOC_SETFLAGS: Final = 0x40086602
FS_NOCOW_FL: Final = 0x00800000
MODE: Final = 0o600  # until `CommitFile` sets the volume's permissions


class VolumeData:
    """Handles requests about the bytes of volumes."""

    @handles(CreateRaw)
    def create_raw(self, request: CreateRaw) -> Ack:
        """Create a file of zeros."""
        os.close(create_zeros(request))
        return Ack()

    @handles(CopyRaw)
    def copy_raw(self, request: CopyRaw) -> Ack:
        """Copy a volume's bytes."""
        with system_errors(f"copy '{request.source}' to '{request.target}'"):
            source = open_volume(request.source, os.O_RDONLY)
            try:
                target = open_copy(source, request)
            finally:
                os.close(source)
            try:
                os.fsync(target)
            finally:
                os.close(target)
        return Ack()

    @handles(Resize)
    def resize(self, request: Resize) -> Ack:
        """Change a raw file's size; on failure it keeps the old one."""
        with system_errors(f"resize '{request.path}' to {request.capacity} bytes"):
            fd = open_volume(request.path, os.O_RDWR)
            try:
                before = size_of(fd)
                try:
                    if request.allocate and request.capacity > before:
                        os.posix_fallocate(fd, before, request.capacity - before)
                    os.ftruncate(fd, request.capacity)
                except OSError:
                    if request.capacity > before:
                        os.ftruncate(fd, before)
                    raise
                os.fsync(fd)
            finally:
                os.close(fd)
        return Ack()

    @handles(Wipe)
    def wipe(self, request: Wipe) -> Ack:
        """Overwrite a volume with zeros."""
        with system_errors(f"wipe '{request.path}'"):
            fd = open_volume(request.path, os.O_RDWR)
            try:
                status, size = os.fstat(fd), size_of(fd)
                if stat.S_ISREG(status.st_mode) and status.st_blocks * 512 < size:
                    os.ftruncate(fd, 0)
                    os.ftruncate(fd, size)
                else:
                    write_zeros(fd, 0, size)
                os.fsync(fd)
            finally:
                os.close(fd)
        return Ack()


def create_zeros(request: CreateRaw) -> int:
    """Create a file of zeros and return it open; on failure nothing is left of it.

    Raises:
        VirError: SYSTEM_ERROR: the kernel refuses.
    """
    path = f"{request.directory}/{request.temporary_name}"
    with system_errors(f"create '{path}'"):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        try:
            if request.nocow:
                _disable_cow(fd)  # btrfs accepts it only while the file is empty
            os.ftruncate(fd, request.capacity)
            if request.allocation:  # more than the capacity makes a larger file, as in libvirt
                os.posix_fallocate(fd, 0, request.allocation)
                write_out(fd)
        except BaseException:
            os.close(fd)
            _remove(path)
            raise
    return fd


def open_copy(source: int, request: CopyRaw) -> int:
    """Copy an open volume's bytes and return the target, open and not yet flushed.

    Raises:
        VirError: INVALID_ARG: the target is a device that is too small.
        OSError: the kernel refuses.
    """
    target = _open_target(request)
    try:
        _copy(source, target, request)
    except BaseException:
        os.close(target)
        raise
    return target


def _open_target(request: CopyRaw) -> int:
    """Open the target of a copy; O_EXCL refuses a file that was created meanwhile."""
    if not request.is_new:
        return open_volume(request.target, os.O_RDWR)
    return os.open(request.target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)


def _copy(source: int, target: int, request: CopyRaw) -> None:
    """Copy between open files; refuse a block device that is too small before the first write."""
    size = size_of(source)
    is_file = stat.S_ISREG(os.fstat(target).st_mode)
    if not is_file and size_of(target) < size:
        detail = f"'{request.target}' is smaller than the {size} bytes of '{request.source}'"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
    if request.reflink:
        fcntl.ioctl(target, FICLONE, source)
    else:
        copy_bytes(source, target, size, keep_holes=is_file)
    if is_file:
        os.ftruncate(target, max(size, request.size))


def _disable_cow(fd: int) -> None:
    """Set FS_NOCOW_FL on a new file; other file systems than btrfs refuse the flag."""
    flags = array.array("L", [0])
    try:
        fcntl.ioctl(fd, FS_IOC_GETFLAGS, flags)
        flags[0] |= FS_NOCOW_FL
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, flags)
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
            raise


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
