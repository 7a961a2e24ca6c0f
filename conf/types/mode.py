"""File modes in octal.

Owns: parsing and formatting them. Pure.
"""

from __future__ import annotations

from typing import Final

from conf.types.integer import c_integer

MAX_MODE: Final = 0o777  # the permission bits; set-id and sticky bits are not for libvirt's files


def parse_mode(text: str) -> int:
    """Parse octal digits up to 0777, with or without a leading 0.

    Raises:
        ValueError: it is no mode.
    """
    mode = c_integer(text, 8)
    if not 0 <= mode <= MAX_MODE:
        raise ValueError(text)
    return mode


def format_mode(mode: object) -> str:
    """Format a mode in octal after a 0, as 0644."""
    return f"0{int(str(mode)):o}"
