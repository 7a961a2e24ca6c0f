"""UUIDs as libvirt reads them (virUUIDParse).

Owns: parsing and the usual form. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from uuid import UUID

from conf.errors import ConfError

#: Dashes and blanks may be anywhere between bytes or be left out; spaces around do not count.
_UUID: Final = re.compile(r"([- ]*[0-9a-fA-F]{2}){16}")


def parse_uuid(text: str) -> str:
    """Parse a UUID; it comes out in lower case with its four dashes.

    Raises:
        ValueError: it is malformed. Python's `UUID()` alone would take braces and "urn:uuid:", too.
    """
    if not is_uuid(text):
        raise ValueError(text)
    return str(UUID("".join(text.split())))


def is_uuid(text: str) -> bool:
    """Check whether `parse_uuid` takes a text."""
    return _UUID.fullmatch(text.strip()) is not None


def uuid_reader(kind: str, path: str) -> Callable[[str], str]:
    """Make a reader of the element at `path`.

    Raises:
        ConfError: of that kind: it is malformed.
    """

    def read(text: str) -> str:
        try:
            return parse_uuid(text)
        except ValueError:
            raise ConfError(kind, f"malformed uuid element: '{text}'", path) from None

    return read
