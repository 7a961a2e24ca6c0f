"""Removes the locks of workers that died when their guest was gone.

Owns: that. May touch: lock files in the folder of status files.

A worker removes its lock with its guest. One that is killed in between leaves the file, and where
the root dies with it no successor comes: no status file says that there is anything to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


def remove_unheld_locks(folder: Path) -> None:
    """Remove the locks that nobody holds, of domains that have no status file.

    A worker that has opened one of them and waits for it finds that it is gone, and makes another.
    """
    for path in folder.glob("*.lock"):
        if not path.with_suffix(".xml").exists():
            with contextlib.suppress(OSError):  # held, or removed meanwhile
                _remove(path)


def _remove(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), path.lstat()):
            path.unlink()
    finally:
        os.close(fd)
