"""Integers in attributes and elements.

Owns: their readers, and the writers of hexadecimal numbers. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

UINT_MAX: Final = 2**32 - 1
INT_MAX: Final = 2**31 - 1
LONG_MAX: Final = 2**63 - 1
ULONG_MAX: Final = 2**64 - 1
NEGATIVE: Final = "non-negative integer value"
POSITIVE: Final = "positive integer value"
SIGNED: Final = "integer value"  # of an int, which may have a sign
#: What strtol takes in a base: blanks, a sign and ASCII digits, and nothing after them.
_NUMERALS: Final = {
    0: re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|[0-9]+)"),
    8: re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-7]+)"),
    10: re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)"),
    16: re.compile(r"[ \t\n\v\f\r]*([+-]?)((?:0[xX])?[0-9a-fA-F]+)"),
}
MAX_DIGITS: Final = 64  # of a numeral; no type of libvirt's holds more than 20 significant ones


def c_integer(text: str, base: int = 10) -> int:
    """Read an integer as C's strtol does, and as libvirt does: nothing may follow the digits.

    Python's `int` takes other scripts' digits, underscores and blanks at the end.

    Args:
        text: the numeral.
        base: 8, 10 or 16; 0 goes by the prefix: 0x, or 0 for octal.

    Raises:
        ValueError: it is none.
    """
    if base == 10 and text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS:
        return int(text)  # nearly all
    match = _NUMERALS[base].fullmatch(text)
    if match is None or len(text) > MAX_DIGITS:
        raise ValueError(text)
    sign, digits = match.groups()
    number = int(digits, base or _base_of(digits))
    return -number if sign == "-" else number


def _base_of(digits: str) -> int:
    if digits[:2] in ("0x", "0X"):
        return 16
    return 8 if digits.startswith("0") and len(digits) > 1 else 10


def c_unsigned(text: str, base: int = 10) -> int:
    """Read an integer from 0 on as libvirt's virStrToLong_uip does: any sign of minus is refused.

    Raises:
        ValueError: it is none.
    """
    if "-" in text:
        raise ValueError(text)
    return c_integer(text, base)


@dataclass(frozen=True, slots=True)
class BoundedInteger:
    """Reader of an integer attribute as libvirt's virXMLPropUInt and virXMLPropInt have it."""

    low: int
    high: int
    base: int  # 0 goes by the prefix of hexadecimal and octal numbers
    expected: str  # what the refusal names

    def __call__(self, text: str) -> int:
        """Read the number.

        Raises:
            ValueError: it is none, or out of bounds.
        """
        read = c_integer if self.expected == SIGNED else c_unsigned
        number = read(text, self.base)
        if not self.low <= number <= self.high:
            raise ValueError(text)
        return number


#: unsigned int, in decimal.
uint: Final = BoundedInteger(0, UINT_MAX, 10, NEGATIVE)
#: unsigned int, in hexadecimal, with its prefix or without.
uint_hexadecimal: Final = BoundedInteger(0, UINT_MAX, 16, NEGATIVE)
#: unsigned int, in decimal, or in hexadecimal or octal with its prefix: addresses of devices.
uint_any: Final = BoundedInteger(0, UINT_MAX, 0, NEGATIVE)
#: int that libvirt reads with a sign and checks for being negative.
int_unsigned: Final = BoundedInteger(0, INT_MAX, 10, SIGNED)
#: The same, with a prefix or without.
int_any: Final = BoundedInteger(0, INT_MAX, 0, SIGNED)
#: int of either sign.
int_signed: Final = BoundedInteger(-INT_MAX - 1, INT_MAX, 10, SIGNED)
#: long long, of either sign.
long_signed: Final = BoundedInteger(-LONG_MAX - 1, LONG_MAX, 10, SIGNED)
#: unsigned int that is not 0.
uint_positive: Final = BoundedInteger(1, UINT_MAX, 10, POSITIVE)


def unsigned(text: str) -> int:
    """Read an integer from 0 on, in decimal."""
    number = c_unsigned(text)
    if number > ULONG_MAX:
        raise ValueError(text)
    return number


def unsigned_any(text: str) -> int:
    """Read an integer from 0 on, in decimal, or in hexadecimal or octal with its prefix."""
    number = c_unsigned(text, 0)
    if number > ULONG_MAX:
        raise ValueError(text)
    return number


def unsigned_hexadecimal(text: str) -> int:
    """Read an integer from 0 on in hexadecimal, with its prefix or without."""
    number = c_unsigned(text, 16)
    if number > ULONG_MAX:
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
