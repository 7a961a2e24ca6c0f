"""Integers in attributes and elements.

Owns: their readers, and the writers of hexadecimal numbers. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

UINT_MAX: Final = 2**32 - 1
INT_MAX: Final = 2**31 - 1
ULONG_MAX: Final = 2**64 - 1
NEGATIVE: Final = "non-negative integer value"
POSITIVE: Final = "positive integer value"


@dataclass(frozen=True, slots=True)
class BoundedInteger:
    """Reader of an integer attribute as libvirt's virXMLPropUInt and virXMLPropInt have it."""

    low: int
    high: int
    base: int  # 0 takes the prefixes of hexadecimal, octal and binary numbers
    expected: str  # what the refusal names

    def __call__(self, text: str) -> int:
        """Read the number.

        Raises:
            ValueError: it is none, or out of bounds.
        """
        try:
            number = int(text, self.base)
        except ValueError:
            # int(…, 0) refuses leading zeros ("007"), which strtoul takes as octal; libvirt's
            # documents mean decimal there.
            number = int(text, 10)
        if not self.low <= number <= self.high or "_" in text:
            raise ValueError(text)
        return number


#: unsigned int, in decimal.
uint: Final = BoundedInteger(0, UINT_MAX, 10, NEGATIVE)
#: unsigned int, with a prefix or without: addresses and identifiers of devices.
uint_any: Final = BoundedInteger(0, UINT_MAX, 0, NEGATIVE)
#: int that libvirt reads with a sign and checks for being negative.
int_unsigned: Final = BoundedInteger(0, INT_MAX, 0, "integer value")
#: unsigned int that is not 0.
uint_positive: Final = BoundedInteger(1, UINT_MAX, 10, POSITIVE)


def unsigned(text: str) -> int:
    """Read an integer from 0 on, in decimal, or in hexadecimal, octal or binary with its prefix."""
    # int(…, 0) refuses leading zeros ("007"), which libvirt takes as decimal here.
    number = int(text.strip(), 0) if not text.strip().lstrip("0").isdigit() else int(text)
    if not 0 <= number <= ULONG_MAX:
        raise ValueError(text)
    return number


def unsigned_hexadecimal(text: str) -> int:
    """Read an integer from 0 on in hexadecimal, with its prefix or without."""
    number = int(text.strip(), 16)
    if not 0 <= number <= ULONG_MAX:
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


def signed(value: object) -> str:
    """Write an unsigned int as libvirt prints those that it takes for an int: "-1" for the last."""
    number = int(str(value))
    return str(number - 2**32 if number > INT_MAX else number)


def upper_hexadecimal(digits: int) -> Callable[[object], str]:
    """Make a writer of numbers as 0x and at least that many digits in upper case."""
    return lambda value: f"0x{int(str(value)):0{digits}X}"
