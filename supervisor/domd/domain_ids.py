"""The numbers of running guests: each is given once in a boot of the host, and they increase.

Owns: the last number given, in memory and in a file that survives this process.
May not touch: guests.
"""

from __future__ import annotations

import logging
from pathlib import Path

from supervisor.runtime.atomic_file import write_file

log = logging.getLogger(__name__)


class IdAllocator:
    """Gives guests their numbers."""

    def __init__(self, path: Path) -> None:
        """Go on after the last number in the file; begin at 1 where there is none."""
        self._path = path
        self._last = 0
        try:
            self._last = max(0, int(path.read_text(encoding="ascii")))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("%s does not say the last number: %s", path, error)

    def next(self) -> int:
        """A number that no guest has had.

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
        """A guest has this number: later ones get higher ones."""
        self._last = max(self._last, number)
