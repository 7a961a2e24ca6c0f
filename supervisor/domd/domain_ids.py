"""IdAllocator: ids of active domains, each used once in a boot of the host.

Owns: the last number given, in memory and in a file that survives this process.
May not touch: guests.
"""

from __future__ import annotations

import logging
from pathlib import Path

from supervisor.runtime.atomic_file import write_file

log = logging.getLogger(__name__)


class IdAllocator:
    """Allocates ids in increasing order."""

    def __init__(self, path: Path) -> None:
        """Continue after the last id in the file; start at 1 without a file."""
        self._path = path
        self._last = 0
        try:
            self._last = max(0, int(path.read_text(encoding="ascii")))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("%s does not say the last number: %s", path, error)

    def next(self) -> int:
        """Allocate an id.

        The file ends with the host's boot, so no disk is waited for. One that cannot be written
        costs uniqueness after the next restart of this process, and keeps no guest from starting.
        """
        self._last += 1
        try:
            write_file(self._path, f"{self._last}\n".encode(), durable=False)
        except OSError as error:
            log.warning("the number %d cannot be kept: %s", self._last, error)
        return self._last

    def seen(self, number: int) -> None:
        """Record an id that a guest has, so that later ones are higher."""
        self._last = max(self._last, number)
