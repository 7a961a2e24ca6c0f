"""Directory of a pool and the names in it: create, check, commit, remove.

Owns: the order of the steps by which a new volume gets its name. May touch: the requests' paths.
Runs in the pool's helper process: every function here may block.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import stat
from collections.abc import Callable
from typing import Final

from ipc import Ack, Unfinished, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.atomic_file import sync_folder
from supervisor.stord.pool_process.errors import system_errors
from supervisor.stord.pool_process.messages import (
    AbortCreate,
    CheckDirectory,
    ClonedVolume,
    CloneRawVolume,
    CommitFile,
    CreateDirectoryVolume,
    CreateRawVolume,
    FilePermissions,
    MakeDirectory,
    Remove,
    Removed,
    RemoveDirectory,
    RemoveLeftovers,
)
from supervisor.stord.pool_process.safe_open import open_volume, size_of
from supervisor.stord.pool_process.scan import (
    allocation,
    describe_raw,
    describe_volume,
    filesystem_space,
    no_such_path,
)
from supervisor.stord.pool_process.temporary_names import is_leftover
from supervisor.stord.pool_process.volume_data import create_zeros, open_copy
from supervisor.stord.pool_process.write_out import write_out
from supervisor.stord.volume_info import NewVolume, PoolInfo

AT_FDCWD: Final = -100
RENAME_NOREPLACE: Final = 1
DIRECTORY_MODE: Final = 0o711  # without <permissions>: libvirt's VIR_STORAGE_DEFAULT_POOL_PERM_MODE
#: NFS, and FUSE file systems without rename2, answer EINVAL to RENAME_NOREPLACE.
NO_RENAMEAT2: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)

log = logging.getLogger(__name__)

_libc = ctypes.CDLL(None, use_errno=True)


class VolumeFiles:
    """Handles requests about directories and names."""

    def __init__(self) -> None:
        self._unflushed: set[str] = set()  # directories with new names since their last flush

    @handles(MakeDirectory)
    def make_directory(self, request: MakeDirectory) -> Ack:
        """Create a directory and its parents."""
        permissions = request.permissions
        with system_errors(f"create the directory '{request.path}'"):
            mode = permissions.mode if permissions.mode >= 0 else DIRECTORY_MODE
            os.makedirs(os.path.dirname(request.path) or "/", exist_ok=True)
            created = False
            with contextlib.suppress(FileExistsError):
                os.mkdir(request.path, mode)
                created = True
            if not stat.S_ISDIR(os.stat(request.path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory")
            if created or permissions.mode >= 0:  # mkdir's mode is subject to the umask
                os.chmod(request.path, mode)
            os.chown(request.path, permissions.owner, permissions.group)
        return Ack()

    @handles(CheckDirectory)
    def check_directory(self, request: CheckDirectory) -> Ack:
        """Check that a path is a readable directory."""
        with system_errors(f"open path '{request.path}'"), os.scandir(request.path):
            return Ack()

    @handles(RemoveDirectory)
    def remove_directory(self, request: RemoveDirectory) -> Ack:
        """Remove an empty directory."""
        with system_errors(f"remove the directory '{request.path}'"):
            os.rmdir(request.path)
        return Ack()

    @handles(CommitFile)
    def commit_file(self, request: CommitFile) -> NewVolume:
        """Rename a finished file to its volume name unless that exists."""
        _commit(request.directory, request.temporary_name, request.name, request.permissions)
        volume = describe_volume(request.directory, request.name)
        return NewVolume(volume=volume, space=_space(request.directory))

    @handles(CreateRawVolume)
    def create_raw_volume(self, request: CreateRawVolume) -> Unfinished:
        """Create a file of zeros, and rename it to its volume name unless that exists."""
        directory, temporary = request.file.directory, request.file.temporary_name
        fd = create_zeros(request.file)
        commit = self._begin_commit(fd, directory, temporary, request.name, request.permissions)
        return Unfinished(commit)

    @handles(CloneRawVolume)
    def clone_raw_volume(self, request: CloneRawVolume) -> ClonedVolume | Unfinished:
        """Copy a file, and rename the copy to its volume name unless that exists."""
        directory, temporary = request.directory, request.temporary_name
        fd = _copy_if_small(request)
        if fd is None:
            return ClonedVolume()
        commit = self._begin_commit(fd, directory, temporary, request.name, request.permissions)
        return Unfinished(lambda: ClonedVolume(made=commit()))

    def _begin_commit(
        self, fd: int, directory: str, temporary: str, name: str, permissions: FilePermissions
    ) -> Callable[[], NewVolume]:
        """Rename a finished raw file, which is open; return what flushes and describes it.

        On failure of either part nothing is left.

        Raises:
            VirError: STORAGE_VOL_EXIST; SYSTEM_ERROR: the kernel refuses.
        """
        old, new = f"{directory}/{temporary}", f"{directory}/{name}"

        def finish() -> NewVolume:
            try:
                with system_errors(f"create the volume '{new}'"):
                    self._flush(directory)
                    volume = describe_raw(fd, directory, name)
            except BaseException:
                _abort(old, new)
                raise
            finally:
                os.close(fd)
            return NewVolume(volume=volume, space=_space(directory))

        try:
            with system_errors(f"create the volume '{new}'"):
                _apply_permissions(fd, permissions)
                rename_noreplace(old, new)
                self._unflushed.add(directory)
        except BaseException:
            os.close(fd)
            _abort(old, new)
            raise
        return finish

    def _flush(self, directory: str) -> None:
        """Make the names of a directory survive a power failure, unless that is done since."""
        if directory in self._unflushed:
            sync_folder(directory)
            self._unflushed.discard(directory)

    @handles(AbortCreate)
    def abort_create(self, request: AbortCreate) -> Ack:
        """Remove a file whose creation failed."""
        final = f"{request.directory}/{request.name}" if request.name else ""
        _abort(f"{request.directory}/{request.temporary_name}", final, request.since_ns)
        return Ack()

    @handles(RemoveLeftovers)
    def remove_leftovers(self, request: RemoveLeftovers) -> Ack:
        """Remove the temporary files of an earlier stord."""
        with system_errors(f"read the directory '{request.directory}'"):
            for name in os.listdir(request.directory):
                if is_leftover(name, request.host_tag, request.pid):
                    _remove_leftover(f"{request.directory}/{name}")
        return Ack()

    @handles(CreateDirectoryVolume)
    def create_directory_volume(self, request: CreateDirectoryVolume) -> Ack:
        """Create a volume of format dir."""
        path, permissions = f"{request.directory}/{request.name}", request.permissions
        with system_errors(f"create the directory '{path}'"):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError as error:
                raise volume_exists(request.name) from error
            try:
                _apply_permissions_at(path, permissions)
            except BaseException:
                os.rmdir(path)
                raise
            sync_folder(request.directory)
        return Ack()

    @handles(Remove)
    def remove(self, request: Remove) -> Removed:
        """Remove a file or an empty directory.

        The directory is not flushed, nor does libvirt: after a power failure a volume may be back,
        whole. A new volume of that name is flushed with the removal of the old one.
        """
        path = f"{request.directory}/{request.name}"
        with system_errors(f"remove '{path}'"):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            except IsADirectoryError:
                os.rmdir(path)
        return Removed(space=_space(request.directory))


def _copy_if_small(request: CloneRawVolume) -> int | None:
    """Copy a volume within the limit of bytes; return the copy, open and written out.

    Raises:
        VirError: NO_STORAGE_VOL; SYSTEM_ERROR: the kernel refuses. Nothing is left then.
    """
    path, target = request.copy.source, request.copy.target
    with system_errors(f"copy '{path}' to '{target}'"):
        try:
            source = open_volume(path, os.O_RDONLY)
        except FileNotFoundError:
            raise no_such_path(path) from None
        try:
            if allocation(os.fstat(source), size_of(source)) > request.limit:
                return None
            try:
                fd = open_copy(source, request.copy)
                write_out(fd)
            except BaseException:
                _unlink(target)
                raise
        finally:
            os.close(source)
    return fd


def _commit(directory: str, temporary: str, name: str, permissions: FilePermissions) -> None:
    """Rename a finished file to its volume name unless that exists.

    Raises:
        VirError: STORAGE_VOL_EXIST; SYSTEM_ERROR: the kernel refuses.
    """
    old, new = f"{directory}/{temporary}", f"{directory}/{name}"
    with system_errors(f"create the volume '{new}'"):
        _apply_permissions_at(old, permissions)
        rename_noreplace(old, new)
        sync_folder(directory)  # the name survives a power failure once acknowledged


def _abort(temporary: str, final: str, since_ns: int = 0) -> None:
    """Remove a file under its temporary name, and under its final one where it was renamed.

    Args:
        temporary: the path of the temporary name.
        final: the other path; "": the file was not renamed.
        since_ns: a file that has the final name since before is not ours.

    Raises:
        VirError: SYSTEM_ERROR: the kernel refuses.
    """
    with system_errors(f"remove '{temporary}'"):
        made, there = _status(temporary), _status(final) if final else None
        if there is not None and (
            # Renamed: the temporary name is gone. Without RENAME_NOREPLACE link(2) replaces it, and
            # both names may exist.
            there.st_ctime_ns >= since_ns if made is None else made.st_ino == there.st_ino
        ):
            _unlink(final)
        _unlink(temporary)


def _space(directory: str) -> PoolInfo | None:
    """Measure the file system; None where it cannot be: a new volume is there all the same."""
    with contextlib.suppress(OSError):
        return filesystem_space(directory)
    return None


def _remove_leftover(path: str) -> None:
    """Remove a leftover file; a failure is logged, the other files are still removed."""
    try:
        os.unlink(path)
    except OSError as error:
        log.warning("cannot remove the leftover '%s': %s", path, os.strerror(error.errno or 0))
    else:
        log.warning("removed '%s', left by an interrupted creation of a volume", path)


def _status(path: str) -> os.stat_result | None:
    """Return a file's status; None when there is no such file."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def volume_exists(name: str) -> VirError:
    """STORAGE_VOL_EXIST: the name is in use."""
    detail = f"'{name}'; delete it first or take another name"
    return VirError(ErrorCode.STORAGE_VOL_EXIST, detail, ErrorDomain.STORAGE)


def rename_noreplace(old: str, new: str) -> None:
    """Rename a file unless the new name exists.

    Raises:
        VirError: STORAGE_VOL_EXIST.
        OSError: the kernel refuses.
    """
    result = _libc.renameat2(
        AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), RENAME_NOREPLACE
    )
    number = ctypes.get_errno()
    if result == 0:
        return
    if number in NO_RENAMEAT2:  # link(2) fails with EEXIST as well, on every file system
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


def _apply_permissions_at(path: str, permissions: FilePermissions) -> None:
    """Set owner and mode of a new file or directory, never through a symbolic link.

    Raises:
        OSError: the kernel refuses; ELOOP for a link.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _apply_permissions(fd, permissions)
    finally:
        os.close(fd)


def _apply_permissions(fd: int, permissions: FilePermissions) -> None:
    """Set owner and mode; owner first: chown clears the set-user-ID and set-group-ID bits."""
    if permissions.owner >= 0 or permissions.group >= 0:
        os.fchown(fd, permissions.owner, permissions.group)
    if permissions.mode >= 0:
        os.fchmod(fd, permissions.mode)
