"""Files that a worker makes for new images, before QEMU opens them.

Owns: making and removing them; the header of an empty qcow2 image in one that it has made. May
touch: those files alone.

QEMU can make an image, too (`blockdev-create`), as a job of some ten messages and a flush of its
own; what is written here is the same image (`supervisor.images.new_qcow2`).
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.new_qcow2 import NewQcow2

log = logging.getLogger(__name__)


@dataclass(slots=True)
class NewFile:
    """A file that was made now; its descriptor is open until `close`."""

    path: str
    fd: int

    def write(self, image: NewQcow2) -> None:
        """Make the empty file an image.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        try:
            os.ftruncate(self.fd, image.length)
            for offset, data in image.blocks:
                if os.pwrite(self.fd, data, offset) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise _error(self.path, error) from error

    def sync(self) -> None:
        """Make the contents survive a loss of power; its name does, too, in the journal of ext4.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise _error(self.path, error) from error

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def make_file(path: str) -> NewFile | None:
    """Make an empty file for QEMU's user alone; None: there is one already.

    Raises:
        VirError: SYSTEM_ERROR: it cannot be made.
    """
    try:
        # O_EXCL: what somebody else has put there is not this image, and is not removed later.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return None
    except OSError as error:
        raise _error(path, error) from error
    return NewFile(path, fd)


def create_file(path: str) -> bool:
    """Make an empty file for QEMU's user alone; whether it was made now.

    Raises:
        VirError: SYSTEM_ERROR: it cannot be made.
    """
    made = make_file(path)
    if made is not None:
        made.close()
    return made is not None


def make_files(paths: Iterable[str]) -> dict[str, NewFile]:
    """Make empty files for QEMU's user alone; those that were made now, by their paths.

    Raises:
        VirError: SYSTEM_ERROR; none is left.
    """
    made: dict[str, NewFile] = {}
    try:
        for path in paths:
            file = make_file(path)
            if file is not None:
                made[path] = file
    except VirError:
        for file in made.values():
            file.close()
            remove_file(file.path)
        raise
    return made


def remove_file(path: str) -> None:
    """Remove an image's file; an error is logged."""
    try:
        os.unlink(path)
    except OSError as error:
        log.warning("image file %s cannot be removed: %s", path, error)


def _error(path: str, error: OSError) -> VirError:
    detail = f"failed to create image file '{path}': {error.strerror}"
    return VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1)
