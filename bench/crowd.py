"""What thousands of objects and a hundred guests take.

Owns: the daemons it starts for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

CrowdRow = tuple[str, str, Callable[[str, str, Path | None], None]]


def crowd_rows() -> tuple[CrowdRow, ...]:
    """Return name, target and measure of each row."""
    return ()
