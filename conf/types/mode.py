"""File modes in octal.

Owns: parsing and formatting them. Pure.
"""

from __future__ import annotations

import re
from typing import Final

MAX_MODE: Final = 0o777  # the permission bits; set-id and sticky bits are not for libvirt's files
_OCTAL: Final = re.compile("[0-7]{1,12}")


def parse_mode(text: str) -> int:
    """Parse octal digits up to 0777, with or without a leading 0.

    Raises:
        ValueError: it is no mode.
    """
    if _OCTAL.fullmatch(text) is None or int(text, 8) > MAX_MODE:
        raise ValueError(text)
    return int(text, 8)


def format_mode(mode: object) -> str:
    """Format a mode in octal after a 0, as 0644."""
    return f"0{int(str(mode)):o}"
