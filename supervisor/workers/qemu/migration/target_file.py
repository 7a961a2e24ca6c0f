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
from collections.abc import Iterator
from dataclasses import dataclass

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.atomic_file import sync_folder

MAX_STEM = 200  # characters of the name that the temporary one repeats: a file's may have 255 bytes


@dataclass(slots=True)
class TargetFile:
    """A file to be written; `close` it in any case."""

    path: str  # the one that was named, without symbolic links
    temporary: str  # "": it is a device or pipe, and written in place
    fd: int = -1  # once it is open
    direct: bool = False  # O_DIRECT

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


def plan_target(path: str) -> TargetFile:
    """Choose the names of a file that is to be written in place of the one that may be at `path`.

    They are recorded before the file is made: whoever finds them removes it.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    with _create_errors(path):
        real = os.path.realpath(path)
        try:
            in_place = not stat.S_ISREG(os.stat(real).st_mode)
        except FileNotFoundError:
            in_place = False
    if in_place:
        return TargetFile(real, "")
    folder, name = os.path.split(real)
    # A name that nobody can foresee: the folder may be /tmp.
    return TargetFile(real, f"{folder}/.{name[:MAX_STEM]}.{secrets.token_hex(6)}.part")


def open_target(target: TargetFile, path: str, *, direct: bool) -> None:
    """Open a planned file.

    It is for root alone, unless there is an earlier one: it gets that one's owner and mode.

    Args:
        target: the file; the caller closes it.
        path: as the client named it, for the error.
        direct: past the page cache.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_DIRECT if direct else 0)
    target.direct = direct
    with _create_errors(path):
        if not target.temporary:
            # O_NONBLOCK: a FIFO that nobody reads holds no thread.
            target.fd = os.open(target.path, flags | os.O_NONBLOCK)
            return
        exclusive = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        target.fd = os.open(target.temporary, flags | exclusive, 0o600)
        with contextlib.suppress(FileNotFoundError):
            present = os.stat(target.path)
            os.fchown(target.fd, present.st_uid, present.st_gid)
            os.fchmod(target.fd, stat.S_IMODE(present.st_mode))


@contextlib.contextmanager
def _create_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        detail = f"Failed to create file '{path}': {error.strerror or error}"
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1
        ) from error


def publish(temporary: str, path: str) -> None:
    """Give a complete file the name that the client wants.

    Raises:
        OSError: it has its temporary name still, or is gone.
    """
    if temporary:
        os.rename(temporary, path)
        sync_folder(os.path.dirname(path))


def discard(temporary: str) -> None:
    """Remove a file that was not completed."""
    if temporary:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
