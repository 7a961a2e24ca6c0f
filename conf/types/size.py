"""Sizes with a unit: libvirt's scaled integers.

Owns: the units, the conversion to bytes and KiB, and `Amount`. Pure.
Source: libvirt 9.0 formatdomain, "Memory Allocation".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import attribute, element, text
from conf.types.integer import unsigned_of

KIB: Final = 1024
MIB: Final = 1024**2
GIB: Final = 1024**3
#: Bytes of a unit, in lower case. "k" alone is binary, "kb" is decimal: so libvirt has it.
UNITS: Final = {
    "b": 1, "bytes": 1, "byte": 1, "kb": 1000, "k": KIB, "kib": KIB, "mb": 1000**2, "m": MIB,
    "mib": MIB, "gb": 1000**3, "g": GIB, "gib": GIB, "tb": 1000**4, "t": 1024**4,
    "tib": 1024**4, "pb": 1000**5, "p": 1024**5, "pib": 1024**5, "eb": 1000**6, "e": 1024**6,
    "eib": 1024**6,
}  # fmt: skip
MAX_BYTES: Final = 2**63 - 1  # sizes travel as signed 64 bit numbers in QMP and in off_t


def to_bytes(amount: int, unit: str) -> int:
    """Convert an amount of a unit to bytes.

    Raises:
        ConfError: "invalid_arg": there is no such unit; "overflow": more than `MAX_BYTES`.
    """
    factor = UNITS.get((unit or "bytes").lower())
    if factor is None:
        raise ConfError("invalid_arg", f"unknown suffix '{unit}'")
    if amount * factor > MAX_BYTES:
        raise ConfError("overflow", f"value too large: {amount}{unit}")
    return amount * factor


def to_kib(amount: int, unit: str) -> int:
    """Convert an amount of a unit to KiB, rounded up.

    Raises:
        ConfError: as `to_bytes`.
    """
    return -(-to_bytes(amount, unit or "KiB") // KIB)


@element("amount")
@dataclass(slots=True, kw_only=True)
class Amount:
    """An element whose text is a number of `unit`s; KiB once it has been read."""

    unit: str = attribute("@unit", default="KiB")
    amount: int = text(".", read=unsigned_of(64), default=0, omit="")  # empty: as absent

    def after_read(self) -> None:
        """Convert to KiB."""
        self.amount, self.unit = to_kib(self.amount, self.unit), "KiB"
