"""Attribute types of host interfaces.

Owns: those ways to read. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from conf.errors import ConfError
from conf.types.mac import MAC_ADDRESS

DEVICE: Final = re.compile(r"[^\s/:\0]{1,15}")  # dev_valid_name() in the kernel
VLAN_TAGS: Final = range(1, 4095)
LARGEST_MTU: Final = 0x7FFFFFFF


def choice(label: str, *choices: str) -> Callable[[str], str]:
    """Make the type of an enumeration; `label` names it in libvirt's error message.

    Raises:
        ConfError: "xml": not one of the choices.
    """

    def read(text: str) -> str:
        if text not in choices:
            detail = f"unknown {label} {text}; it can be {', '.join(choices)}"
            raise ConfError("xml", detail, "interface")
        return text

    return read


def number(label: str, allowed: range) -> Callable[[str], int]:
    """Make the type of a number; `label` names it in the error message.

    Raises:
        ConfError: "xml": not a number, or outside the range.
    """

    def read(text: str) -> int:
        digits = text.strip()
        if not digits.isdecimal() or len(digits) > 10 or int(digits) not in allowed:
            detail = f"{label} is '{digits}'; write a number from {allowed[0]} to {allowed[-1]}"
            raise ConfError("xml", detail, "interface")
        return int(digits)

    return read


def device(text: str) -> str:
    """Parse a link name.

    Raises:
        ConfError: "xml": the kernel takes no such name.
    """
    if DEVICE.fullmatch(text) is None or text.startswith("."):
        detail = (
            f"'{text[:32]}' cannot name an interface: take 1 to 15 characters, no dot in front, no "
            "space, / or :"
        )
        raise ConfError("xml", detail, "interface/@name")
    return text


def mac(text: str) -> str:
    """Parse a MAC address, keeping its spelling.

    Raises:
        ConfError: "xml": malformed.
    """
    if MAC_ADDRESS.fullmatch(text) is None:
        detail = f"'{text[:32]}' is no MAC address; write it as 52:54:00:12:34:56"
        raise ConfError("xml", detail, "interface/mac/@address")
    return text


def member_type(*types: str) -> Callable[[str], str]:
    """Parse the type of a member interface.

    Raises:
        ConfError: "xml": one of that type cannot be inside.
    """

    def read(text: str) -> str:
        if text not in types:
            detail = f"interface has unsupported type '{text}'; it can be {', '.join(types)} here"
            raise ConfError("xml", detail, "interface/interface/@type")
        return text

    return read
