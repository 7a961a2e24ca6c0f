"""Attribute types of storage XML: paths, modes, owners, sizes, times. Pure.

Owns: their parsers and formatters.
Source: libvirt 9.0 formatstorage; the refusals are measured on it.
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
    """Remove doubled and trailing slashes (virFileSanitizePath).

    Exactly two leading slashes stay: POSIX leaves their meaning to the implementation.
    """
    single = re.sub("/{2,}", "/", path)
    if path.startswith("//") and not path.startswith("///"):
        single = "/" + single
    return single.rstrip("/") or single[:1]


def octal_mode(text: str) -> int | None:
    """Parse an octal mode up to 0777; "" is None.

    Raises:
        ConfError: "xml".
    """
    if not text:
        return None
    try:
        return parse_mode(text)
    except ValueError:
        detail = f"malformed octal mode '{text}'; write it as 0644"
        raise ConfError("xml", detail, "mode") from None


def owner_id(text: str) -> int | None:
    """Parse a uid.

    Raises:
        ConfError: "xml".
    """
    return _parse_id(text, "owner")


def group_id(text: str) -> int | None:
    """Parse a gid.

    Raises:
        ConfError: "xml".
    """
    return _parse_id(text, "group")


def _parse_id(text: str, element: str) -> int | None:
    """Parse a uid or gid; -1 keeps what the kernel gives a new file."""
    digits = text.lstrip()  # as strtoul
    if digits == "-1":  # an empty element is no number: libvirt refuses it
        return None
    if digits == str(MAX_ID):  # the same (uid_t) -1, written unsigned
        return None
    if not _NUMBER.fullmatch(digits) or int(digits) >= MAX_ID:
        raise ConfError("xml", f"malformed {element} element: '{text}' is no id", element)
    return int(digits)


def read_amount(text: str, unit: str, element: str) -> int:
    """Parse a size with a unit and return it in bytes.

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
    """Format a file time as seconds since the epoch, with nanoseconds."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{seconds}.{rest:09d}" if rest else f"{seconds}"
