"""Known images: what headers said that were read before, of files that have not changed since.

Owns: those facts. May not touch: files.
"""

from __future__ import annotations

import os
import time
from typing import Final

from supervisor.images import ImageInfo

#: A write this long (ns) after the last change shows in the file's times: the kernel's clock for
#: them ticks every 10 ms at most. Times of whole seconds are of file systems that have no others.
FINE_NS: Final = 100_000_000
COARSE_NS: Final = 2_000_000_000
SECOND_NS: Final = 1_000_000_000

Identity = tuple[int, int, int, int, int]


class KnownImages:
    """The images of one directory."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[Identity, ImageInfo]] = {}
        self._now: dict[str, tuple[Identity, ImageInfo]] = {}

    def begin(self) -> None:
        """Begin a scan: what the last one did not meet is forgotten."""
        self._before, self._now = self._now, {}

    def find(self, path: str, status: os.stat_result) -> ImageInfo | None:
        """Return what a file's header said; None: it may have changed, or was never read."""
        known = self._before.get(path)
        if known is None or known[0] != identity(status):
            return None
        self._now[path] = known
        return known[1]

    def add(self, path: str, status: os.stat_result, image: ImageInfo) -> None:
        """Remember what was just read, unless the next write might not show."""
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        margin = FINE_NS if changed % SECOND_NS else COARSE_NS
        if time.time_ns() - changed > margin:
            self._now[path] = (identity(status), image)


def identity(status: os.stat_result) -> Identity:
    """Return what changes when a file is replaced or written."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
