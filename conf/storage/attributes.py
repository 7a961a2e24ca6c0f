"""How storage documents write paths, modes, owners and sizes; used by every model here.

Owns: those ways to read and write. Pure.
Source: libvirt 9.0 formatstorage; the refusals are those measured on it.
"""

from __future__ import annotations

import re
from typing import Final

from conf.errors import ConfError
from conf.types.mode import parse_mode
from conf.types.size import MAX_BYTES, UNITS

MAX_ID: Final = 2**32 - 1
_NUMBER: Final = re.compile(r"\s*\+?[0-9]+")


def clean_path(path: str) -> str:
    """Write a path without doubled or trailing slashes.

    Two slashes at the very start stay: POSIX gives them a meaning of their own.
    """
    single = re.sub("/{2,}", "/", path)
    if path.startswith("//") and not path.startswith("///"):
        single = "/" + single
    return single.rstrip("/") or single[:1]


def octal_mode(text: str) -> int | None:
    """Read a mode: octal digits up to 0777; nothing is None.

    Raises:
        ConfError: "xml": it is none.
    """
    if not text.strip():
        return None
    try:
        return parse_mode(text)
    except ValueError:
        detail = f"malformed octal mode '{text}'; write it as 0644"
        raise ConfError("xml", detail, "mode") from None


def owner_id(text: str) -> int | None:
    """Read a user's number.

    Raises:
        ConfError: "xml": it is none.
    """
    return _parse_id(text, "owner")


def group_id(text: str) -> int | None:
    """Read a group's number.

    Raises:
        ConfError: "xml": it is none.
    """
    return _parse_id(text, "group")


def _parse_id(text: str, element: str) -> int | None:
    """Parse a uid or gid; -1 keeps what the kernel gives a new file."""
    digits = text.strip()
    if digits == "-1":  # an empty element is no number: libvirt refuses it
        return None
    if not _NUMBER.fullmatch(digits) or int(digits) >= MAX_ID:
        raise ConfError("xml", f"malformed {element} element: '{text}' is no id", element)
    return int(digits)


def read_amount(text: str, unit: str, element: str) -> int:
    """Read an amount in some unit; the answer is in bytes.

    Args:
        text: the number.
        unit: "" for bytes, or as "KiB", "MB", "G".
        element: the element's name, for the refusal.

    Raises:
        ConfError: "xml" for what is no number, "invalid_arg" for an unknown unit, "overflow" for
            more than 2⁶³-1 bytes.
    """
    if not _NUMBER.fullmatch(text) or len(text) > 40:
        raise ConfError("xml", f"malformed {element} element: '{text[:40]}' is no number", element)
    power = UNITS.get(unit.lower()) if unit else 1
    if power is None:
        raise ConfError("invalid_arg", f"unknown suffix '{unit}' in element {element}", element)
    amount = int(text) * power
    if amount > MAX_BYTES:
        raise ConfError("overflow", f"value too large: {text}{unit} in element {element}", element)
    return amount


def timestamp(nanoseconds: int) -> str:
    """Write a time of a file as seconds since the epoch, with nine digits after the point."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{seconds}.{rest:09d}" if rest else f"{seconds}"
