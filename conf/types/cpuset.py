"""Sets of CPU or NUMA node numbers, such as "0-3,^2,8" (libvirt: virBitmap; the kernel: a cpulist).

Owns: parsing and formatting them. Pure.
Source: libvirt 9.0 formatdomain, "CPU Allocation".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from conf.errors import ConfError

MAX_NUMBER: Final = 16384  # above what any kernel has; a set of more would take memory for nothing
_RANGE: Final = re.compile(r"\^?[0-9]+(-[0-9]+)?")


def parse_cpuset(text: str) -> frozenset[int]:
    """Parse a set such as "0-3,^2,8"; `^` takes numbers out of what is before it.

    Raises:
        ValueError: bad syntax, or numbers beyond `MAX_NUMBER`.
    """
    members: set[int] = set()
    for part in text.replace(" ", "").split(","):
        if not _RANGE.fullmatch(part):
            raise ValueError(text)
        low, _, high = part.removeprefix("^").partition("-")
        first, last = int(low), int(high or low)
        if last > MAX_NUMBER or first > last:
            raise ValueError(text)
        span = range(first, last + 1)
        if part.startswith("^"):
            members.difference_update(span)
        else:
            members.update(span)
    return frozenset(members)


@lru_cache(maxsize=64)
def parse_cpulist(text: str) -> tuple[int, ...]:
    """Parse a list of the kernel's, as in /sys/devices/system/cpu/online; "" is an empty one.

    Raises:
        ValueError: bad syntax.
    """
    return tuple(sorted(parse_cpuset(text.strip()))) if text.strip() else ()


def cpu_ranges(numbers: Iterable[int]) -> list[str]:
    """Format numbers as ranges: `{0, 1, 2, 5}` is ["0-2", "5"]."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return [str(first) if first == last else f"{first}-{last}" for first, last in spans]


def format_cpuset(numbers: Iterable[int]) -> str:
    """Format a set in its shortest form: `{0, 1, 2, 5}` is "0-2,5"."""
    return ",".join(cpu_ranges(numbers))


def cpuset(text: str) -> str:
    """Read a set; it comes out in its shortest form.

    Raises:
        ConfError: "invalid_arg": it cannot be parsed.
    """
    try:
        return format_cpuset(parse_cpuset(text))
    except ValueError:
        raise ConfError("invalid_arg", f"Failed to parse bitmap '{text}'") from None


def nonempty_cpuset(name: str) -> Callable[[str], str]:
    """Make a reader of a set that must not be empty; `name` is the attribute's, for the error.

    Raises:
        ConfError: "invalid_arg": it cannot be parsed; "config_unsupported": it is empty.
    """

    def read(text: str) -> str:
        members = cpuset(text)
        if not members:
            raise ConfError("config_unsupported", f"Invalid value of '{name}': {text}")
        return members

    return read
