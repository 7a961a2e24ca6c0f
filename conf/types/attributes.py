"""How domain documents write switches, amounts and sets; used by every model.

Owns: those ways to read and write, and `Amount`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import attribute, element, text

POWERS: Final = {
    "b": 1, "bytes": 1, "byte": 1, "kb": 1000, "k": 1024, "kib": 1024, "mb": 1000**2, "m": 1024**2,
    "mib": 1024**2, "gb": 1000**3, "g": 1024**3, "gib": 1024**3, "tb": 1000**4, "t": 1024**4,
    "tib": 1024**4, "pb": 1000**5, "p": 1024**5, "pib": 1024**5, "eb": 1000**6, "e": 1024**6,
    "eib": 1024**6,
}  # fmt: skip
MAX_BYTES: Final = 2**63 - 1
KIB: Final = 1024
_RANGE: Final = re.compile(r"\^?\d+(-\d+)?")


def yes_no(word: str) -> bool:
    """Read "yes" or "no"."""
    return {"yes": True, "no": False}[word]


def on_off(word: str) -> bool:
    """Read "on" or "off"."""
    return {"on": True, "off": False}[word]


def write_on_off(value: object) -> str:
    """Write a switch as "on" or "off"."""
    return "on" if value else "off"


def unsigned(word: str) -> int:
    """Read a number from 0 on, in any of C's bases."""
    number = int(word.strip(), 0) if not word.strip().lstrip("0").isdigit() else int(word)
    if number < 0:
        raise ValueError(word)
    return number


def positive(word: str) -> int:
    """Read a number from 1 on."""
    number = unsigned(word)
    if number < 1:
        raise ValueError(word)
    return number


@dataclass(frozen=True, slots=True)
class OneOf:
    """Reads one of some words."""

    words: tuple[str, ...]

    def __call__(self, word: str) -> str:
        """Read it.

        Raises:
            ValueError: it is none of them.
        """
        if word not in self.words:
            raise ValueError(word)
        return word


def one_of(*words: str) -> OneOf:
    """Read one of some words."""
    return OneOf(words)


def hexadecimal(digits: int) -> Callable[[object], str]:
    """Write a number as 0x and so many digits."""
    return lambda value: f"{int(str(value)):#0{digits + 2}x}"


def upper_hexadecimal(digits: int) -> Callable[[object], str]:
    """Write a number as 0x and so many digits in upper case."""
    return lambda value: f"0x{int(str(value)):0{digits}X}"


def to_bytes(amount: int, unit: str) -> int:
    """An amount with its unit in bytes.

    Raises:
        ValueError: there is no such unit, or the amount is too large.
    """
    power = POWERS.get(unit.lower())
    if power is None or amount * power > MAX_BYTES:
        raise ValueError(f"{amount} {unit}")
    return amount * power


def to_kib(amount: int, unit: str) -> int:
    """An amount with its unit in KiB, rounded up."""
    return -(-to_bytes(amount, unit) // KIB)


@element("amount")
@dataclass(slots=True, kw_only=True)
class Amount:
    """A quantity of memory: its text is a number of `unit`s; KiB once it has been read."""

    unit: str = attribute("@unit", default="KiB")
    amount: int = text(".", read=unsigned, default=0)

    def after_read(self) -> None:
        """Count in KiB."""
        self.amount, self.unit = to_kib(self.amount, self.unit), "KiB"


def cpu_set(word: str) -> str:
    """Read a set of numbers such as "0-3,^2,8"; the shortest way to write it comes out.

    Raises:
        ConfError: "invalid_arg": it is no such set.
    """
    try:
        return write_set(numbers(word))
    except ValueError:
        raise ConfError("invalid_arg", f"Failed to parse bitmap '{word}'") from None


def some_of(name: str) -> Callable[[str], str]:
    """Read a set that must not be empty; `name` is the attribute's, for the refusal.

    Raises:
        ConfError: "invalid_arg": it is no set; "config_unsupported": nothing is in it.
    """

    def read(word: str) -> str:
        members = cpu_set(word)
        if not members:
            raise ConfError("config_unsupported", f"Invalid value of '{name}': {word}")
        return members

    return read


def numbers(word: str) -> frozenset[int]:
    """The numbers in a set such as "0-3,^2,8".

    Raises:
        ValueError: it is no such set, or has numbers beyond 16384.
    """
    found: set[int] = set()
    for part in word.replace(" ", "").split(","):
        if not _RANGE.fullmatch(part):
            raise ValueError(word)
        low, _, high = part.removeprefix("^").partition("-")
        first, last = int(low), int(high or low)
        if last > 16384 or first > last:
            raise ValueError(word)
        span = range(first, last + 1)
        if part.startswith("^"):
            found.difference_update(span)
        else:
            found.update(span)
    return frozenset(found)


def write_set(members: frozenset[int]) -> str:
    """Write a set of numbers with ranges."""
    spans: list[list[int]] = []
    for number in sorted(members):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
