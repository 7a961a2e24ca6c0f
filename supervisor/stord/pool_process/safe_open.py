"""Opens a volume safely: no symbolic link out of its pool, no FIFO, socket or directory.

Owns: that check. May touch: the path it is given.
"""

from __future__ import annotations

import errno
import os
import stat

from rpc.errors import ErrorCode, ErrorDomain, VirError


def open_volume(path: str, flags: int) -> int:
    """Open a volume's file or device; the caller closes it.

    A symbolic link is followed only to a file in the same directory.

    Raises:
        VirError: OPERATION_DENIED for a link out of the pool; OPERATION_INVALID for a directory,
            FIFO or socket.
        OSError: the kernel refuses.
    """
    # O_NONBLOCK: opening a FIFO would wait for its other end.
    options = flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        fd = os.open(path, options)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        fd = os.open(_resolve_inside(path), options)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        os.close(fd)
        detail = f"'{path}' is neither a file nor a block device: it has no bytes of its own"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.STORAGE)
    os.set_blocking(fd, True)
    return fd


def _resolve_inside(path: str) -> str:
    """Resolve a symbolic link within its directory.

    LVM's and udev's device names are symbolic links: /dev/GROUP/NAME leads to /dev/dm-0.
    """
    directory, real = os.path.dirname(path), os.path.realpath(path)
    inside = real.startswith(f"{os.path.realpath(directory)}/")
    if not inside and not (path.startswith("/dev/") and real.startswith("/dev/")):
        detail = (
            f"'{path}' is a symbolic link to '{real}', outside of its pool; "
            "remove the link or define a pool on that directory"
        )
        raise VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.STORAGE)
    return real


def size_of(fd: int) -> int:
    """Return the size of an open file or block device in bytes and seek to its start."""
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    size = os.lseek(fd, 0, os.SEEK_END)  # st_size of a block device is 0
    os.lseek(fd, 0, os.SEEK_SET)
    return size
