"""Device nodes in a running container's /dev.

Owns: making and removing them. May touch: the container's /dev, following none of its links.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MODE: Final = 0o600


def make_node(pid: int, target: str, source: str) -> None:
    """Make a node like one of the host's.

    Args:
        pid: the container's init.
        target: where, in the container.
        source: the host's device.

    Raises:
        VirError: SYSTEM_ERROR naming the path.
    """
    try:
        found = os.stat(source)
        with _folder(pid, target, make=True) as folder:
            name = PurePosixPath(target).name
            os.mknod(name, stat.S_IFMT(found.st_mode) | MODE, found.st_rdev, dir_fd=folder)
            os.chmod(f"/proc/self/fd/{folder}/{name}", stat.S_IMODE(found.st_mode))
    except OSError as problem:
        detail = f"Unable to create device {target} in the container: {problem.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.LXC) from problem


def remove_node(pid: int, target: str) -> None:
    """Remove a node; one that the container has removed itself is no error.

    Raises:
        VirError: SYSTEM_ERROR naming the path.
    """
    try:
        with contextlib.suppress(FileNotFoundError), _folder(pid, target, make=False) as folder:
            os.unlink(PurePosixPath(target).name, dir_fd=folder)
    except OSError as problem:
        detail = f"Unable to remove device {target} in the container: {problem.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.LXC) from problem


@contextlib.contextmanager
def _folder(pid: int, target: str, *, make: bool) -> Iterator[int]:
    """The folder of a path in the container."""
    if ".." in PurePosixPath(target).parts:
        raise OSError(errno.EINVAL, "the path goes up")
    here = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in PurePosixPath(target.lstrip("/")).parent.parts:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=here)
            below = os.open(part, FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)
