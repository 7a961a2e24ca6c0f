"""A pool's folder and the names in it: made, checked, claimed, removed.

Owns: the order of the steps by which a volume gets its name. May touch: the paths it is given.
Runs in a process of the pool's own: every call here may block.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import stat
from typing import Final

from ipc import Ack, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.atomic_file import sync_folder
from supervisor.stord.pool_process.errors import system_errors
from supervisor.stord.pool_process.messages import (
    CheckDirectory,
    CommitFile,
    CreateDirectoryVolume,
    FilePermissions,
    MakeDirectory,
    Remove,
    RemoveDirectory,
    RemoveLeftovers,
)
from supervisor.stord.pool_process.temporary_names import is_leftover

AT_FDCWD: Final = -100
RENAME_NOREPLACE: Final = 1
DIRECTORY_MODE: Final = 0o711  # of a pool's folder whose definition says nothing
NO_RENAMEAT2: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)

log = logging.getLogger(__name__)

_libc = ctypes.CDLL(None, use_errno=True)


class VolumeFiles:
    """Answers questions about folders and names."""

    @handles(MakeDirectory)
    def make_directory(self, request: MakeDirectory) -> Ack:
        """Make a folder and those above it."""
        permissions = request.permissions
        with system_errors(f"create the folder '{request.path}'"):
            mode = permissions.mode if permissions.mode >= 0 else DIRECTORY_MODE
            os.makedirs(os.path.dirname(request.path) or "/", exist_ok=True)
            made = False
            with contextlib.suppress(FileExistsError):
                os.mkdir(request.path, mode)
                made = True
            if not stat.S_ISDIR(os.stat(request.path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a folder")
            if made or permissions.mode >= 0:
                os.chmod(request.path, mode)
            os.chown(request.path, permissions.owner, permissions.group)
        return Ack()

    @handles(CheckDirectory)
    def check_directory(self, request: CheckDirectory) -> Ack:
        """Refuse what is no folder that can be read."""
        with system_errors(f"open path '{request.path}'"), os.scandir(request.path):
            return Ack()

    @handles(RemoveDirectory)
    def remove_directory(self, request: RemoveDirectory) -> Ack:
        """Remove an empty folder."""
        with system_errors(f"remove the folder '{request.path}'"):
            os.rmdir(request.path)
        return Ack()

    @handles(CommitFile)
    def commit_file(self, request: CommitFile) -> Ack:
        """Give a finished file its name, which nobody else has."""
        old = f"{request.directory}/{request.temporary_name}"
        new = f"{request.directory}/{request.name}"
        try:
            with system_errors(f"finish the volume '{new}'"):
                _apply_permissions(old, request.permissions)
                rename_noreplace(old, new)
                sync_folder(request.directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(old)
            raise
        return Ack()

    @handles(RemoveLeftovers)
    def remove_leftovers(self, request: RemoveLeftovers) -> Ack:
        """Remove what was left half-made."""
        with system_errors(f"read the folder '{request.directory}'"):
            for name in os.listdir(request.directory):
                if is_leftover(name, request.host_tag, request.pid):
                    _remove_leftover(f"{request.directory}/{name}")
        return Ack()

    @handles(CreateDirectoryVolume)
    def create_directory_volume(self, request: CreateDirectoryVolume) -> Ack:
        """Make a volume that is a folder."""
        path, permissions = f"{request.directory}/{request.name}", request.permissions
        with system_errors(f"create the folder '{path}'"):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError as error:
                raise volume_exists(request.name) from error
            try:
                _apply_permissions(path, permissions)
            except BaseException:
                os.rmdir(path)
                raise
            sync_folder(request.directory)
        return Ack()

    @handles(Remove)
    def remove(self, request: Remove) -> Ack:
        """Remove a name of the pool."""
        path = f"{request.directory}/{request.name}"
        with system_errors(f"remove '{path}'"):
            try:
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    os.rmdir(path)
                else:
                    os.unlink(path)
                sync_folder(request.directory)
            except FileNotFoundError:
                return Ack()
        return Ack()


def _remove_leftover(path: str) -> None:
    """Remove a half-made file; one that cannot be removed is no reason to leave the others."""
    try:
        os.unlink(path)
    except OSError as error:
        log.warning("'%s' was left half-made and stays: %s", path, os.strerror(error.errno or 0))
    else:
        log.warning("'%s' was left half-made: removed", path)


def volume_exists(name: str) -> VirError:
    """STORAGE_VOL_EXIST: the pool has such a volume."""
    detail = f"'{name}'; delete it first or take another name"
    return VirError(ErrorCode.STORAGE_VOL_EXIST, detail, ErrorDomain.STORAGE)


def rename_noreplace(old: str, new: str) -> None:
    """Rename a file to a name that nothing has.

    Raises:
        VirError: STORAGE_VOL_EXIST: something has it.
        OSError: the kernel refuses.
    """
    result = _libc.renameat2(
        AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), RENAME_NOREPLACE
    )
    number = ctypes.get_errno()
    if result == 0:
        return
    if number in NO_RENAMEAT2:  # this file system has no such rename; a link refuses as well
        number = _link(old, new)
    if number == errno.EEXIST:
        raise volume_exists(os.path.basename(new))
    if number:
        raise OSError(number, os.strerror(number))


def _link(old: str, new: str) -> int:
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as error:
        return error.errno or errno.EIO
    os.unlink(old)
    return 0


def _apply_permissions(path: str, permissions: FilePermissions) -> None:
    """Give a new file or folder its owner and mode; never to what a link leads to.

    The owner first: a change of it takes set-user-ID bits away.

    Raises:
        OSError: the kernel refuses; ELOOP for a link.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if permissions.owner >= 0 or permissions.group >= 0:
            os.fchown(fd, permissions.owner, permissions.group)
        if permissions.mode >= 0:
            os.fchmod(fd, permissions.mode)
    finally:
        os.close(fd)
