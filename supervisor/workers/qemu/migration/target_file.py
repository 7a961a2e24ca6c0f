"""The file that a client names for a guest's memory: another one beside it until it is whole.

Owns: the temporary file, and its change into the one that was named.
May touch: those two files and their folder. May not touch: what is written.

libvirt cuts the file that is there before it writes. Here an earlier image stays until the new one
is complete and on disk, whatever dies before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from dataclasses import dataclass

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.atomic_file import sync_folder

MAX_STEM = 200  # characters of the name that the temporary one repeats: a file's may have 255 bytes


@dataclass(slots=True)
class TargetFile:
    """A file to be written; `close` it in any case."""

    path: str  # the one that was named, without symbolic links
    temporary: str  # "": it is a device or pipe, and written in place
    fd: int
    direct: bool  # O_DIRECT

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def leave_direct(self) -> None:
        """Write through the page cache from now on: the last writes have any length."""
        if self.direct:
            flags = fcntl.fcntl(self.fd, fcntl.F_GETFL)
            fcntl.fcntl(self.fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
            self.direct = False


def open_target(path: str, *, direct: bool) -> TargetFile:
    """Open a file to be written in place of the one that may be at `path`.

    It is for root alone, unless one is there already: it gets that one's owner and mode.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_DIRECT if direct else 0)
    try:
        real = os.path.realpath(path)
        try:
            present = os.stat(real)
        except FileNotFoundError:
            present = None
        if present is not None and not stat.S_ISREG(present.st_mode):
            # O_NONBLOCK: a FIFO that nobody reads holds no thread.
            fd = os.open(real, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
            return TargetFile(real, "", fd, direct)
        folder, name = os.path.split(real)
        # A name that nobody can foresee: the folder may be /tmp.
        temporary = f"{folder}/.{name[:MAX_STEM]}.{secrets.token_hex(6)}.part"
        fd = os.open(temporary, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        target = TargetFile(real, temporary, fd, direct)
        try:
            if present is not None:
                os.fchown(fd, present.st_uid, present.st_gid)
                os.fchmod(fd, stat.S_IMODE(present.st_mode))
        except BaseException:
            target.close()
            discard(temporary)
            raise
    except OSError as error:
        detail = f"Failed to create file '{path}': {error.strerror or error}"
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1
        ) from error
    return target


def publish(temporary: str, path: str) -> None:
    """Give a complete file the name that the client wants; repeated, it does nothing.

    Raises:
        OSError: it has its temporary name still.
    """
    if temporary:
        with contextlib.suppress(FileNotFoundError):
            os.rename(temporary, path)
        sync_folder(os.path.dirname(path))


def discard(temporary: str) -> None:
    """Remove a file that was not completed."""
    if temporary:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
