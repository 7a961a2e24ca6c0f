"""Attribute types of host interfaces.

Owns: those ways to read. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from conf.errors import ConfError

DEVICE: Final = re.compile(r"[^\s/:\0]{1,15}")  # what the kernel takes as a link's name
MAC: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
VLAN_TAGS: Final = range(1, 4095)
LARGEST_MTU: Final = 0x7FFFFFFF


def word(what: str, *words: str) -> Callable[[str], str]:
    """Read one of some words; `what` names it in the refusal, as stock does.

    Raises:
        ConfError: "xml": it is none of them.
    """

    def read(given: str) -> str:
        if given not in words:
            detail = f"unknown {what} {given}; it can be {', '.join(words)}"
            raise ConfError("xml", detail, "interface")
        return given

    return read


def number(what: str, allowed: range) -> Callable[[str], int]:
    """Read a number; `what` names it in the refusal.

    Raises:
        ConfError: "xml": it is none, or beyond what is allowed.
    """

    def read(given: str) -> int:
        text = given.strip()
        if not text.isdecimal() or len(text) > 10 or int(text) not in allowed:
            detail = f"{what} is '{given}'; write a number from {allowed[0]} to {allowed[-1]}"
            raise ConfError("xml", detail, "interface")
        return int(text)

    return read


def device(given: str) -> str:
    """Parse a link name.

    Raises:
        ConfError: "xml": the kernel takes no such name.
    """
    if DEVICE.fullmatch(given) is None or given in (".", ".."):
        detail = (
            f"'{given[:32]}' cannot name an interface: 1 to 15 characters without space, / or :"
        )
        raise ConfError("xml", detail, "interface/@name")
    return given


def mac(given: str) -> str:
    """Parse a MAC address, keeping its spelling.

    Raises:
        ConfError: "xml": it is none.
    """
    if MAC.fullmatch(given) is None:
        detail = f"'{given[:32]}' is no MAC address; write it as 52:54:00:12:34:56"
        raise ConfError("xml", detail, "interface/mac/@address")
    return given


def member_type(*types: str) -> Callable[[str], str]:
    """Parse the type of a member interface.

    Raises:
        ConfError: "xml": one of that type cannot be inside.
    """

    def read(given: str) -> str:
        if given not in types:
            detail = f"interface has unsupported type '{given}'; it can be {', '.join(types)} here"
            raise ConfError("xml", detail, "interface/interface/@type")
        return given

    return read
