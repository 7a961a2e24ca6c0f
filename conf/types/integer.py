"""Integers in attributes and elements.

Owns: their readers, and the writers of hexadecimal numbers. Pure.
"""

from __future__ import annotations

from collections.abc import Callable


def unsigned(text: str) -> int:
    """Read an integer from 0 on, in decimal, or in hexadecimal, octal or binary with its prefix."""
    # int(…, 0) refuses leading zeros ("007"), which libvirt takes as decimal here.
    number = int(text.strip(), 0) if not text.strip().lstrip("0").isdigit() else int(text)
    if number < 0:
        raise ValueError(text)
    return number


def unsigned_of(bits: int) -> Callable[[str], int]:
    """Make a reader of integers from 0 on that fit into so many bits."""

    def read(text: str) -> int:
        number = unsigned(text)
        if number >> bits:
            raise ValueError(text)
        return number

    return read


def positive(text: str) -> int:
    """Read an integer from 1 on."""
    number = unsigned(text)
    if number < 1:
        raise ValueError(text)
    return number


def hexadecimal(digits: int) -> Callable[[object], str]:
    """Make a writer of numbers as 0x and at least that many digits."""
    return lambda value: f"{int(str(value)):#0{digits + 2}x}"


def upper_hexadecimal(digits: int) -> Callable[[object], str]:
    """Make a writer of numbers as 0x and at least that many digits in upper case."""
    return lambda value: f"0x{int(str(value)):0{digits}X}"
