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


def octal_mode(word: str) -> int | None:
    """Read a mode: octal digits up to 0777; nothing is None.

    Raises:
        ConfError: "xml": it is none.
    """
    if not word.strip():
        return None
    try:
        return parse_mode(word)
    except ValueError:
        detail = f"malformed octal mode '{word}'; write it as 0644"
        raise ConfError("xml", detail, "mode") from None


def owner_id(word: str) -> int | None:
    """Read a user's number.

    Raises:
        ConfError: "xml": it is none.
    """
    return _identity(word, "owner")


def group_id(word: str) -> int | None:
    """Read a group's number.

    Raises:
        ConfError: "xml": it is none.
    """
    return _identity(word, "group")


def _identity(word: str, what: str) -> int | None:
    """A number of a user or group; -1 and nothing leave it to the host."""
    said = word.strip()
    if said in ("", "-1"):
        return None
    if not _NUMBER.fullmatch(said) or int(said) >= MAX_ID:
        raise ConfError("xml", f"malformed {what} element: '{word}' is no number of a {what}", what)
    return int(said)


def read_amount(word: str, unit: str, what: str) -> int:
    """Read an amount in some unit; the answer is in bytes.

    Args:
        word: the number.
        unit: "" for bytes, or as "KiB", "MB", "G".
        what: the element's name, for the refusal.

    Raises:
        ConfError: "xml" for what is no number, "invalid_arg" for an unknown unit, "overflow" for
            more than 2⁶³-1 bytes.
    """
    if not _NUMBER.fullmatch(word) or len(word) > 40:
        raise ConfError("xml", f"malformed {what} element: '{word[:40]}' is no number", what)
    power = UNITS.get(unit.lower()) if unit else 1
    if power is None:
        raise ConfError("invalid_arg", f"unknown suffix '{unit}' in element {what}", what)
    amount = int(word) * power
    if amount > MAX_BYTES:
        raise ConfError("overflow", f"value too large: {word}{unit} in element {what}", what)
    return amount


def timestamp(nanoseconds: int) -> str:
    """Write a time of a file as seconds since the epoch, with nine digits after the point."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{seconds}.{rest:09d}" if rest else f"{seconds}"
