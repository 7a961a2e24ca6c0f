"""Closed sets of strings: the values that an enumerated attribute can have.

Owns: their reader. Pure. A set that code branches on is a `StrEnum` beside its model instead.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OneOf:
    """Reader of an attribute that has one of `values`."""

    values: tuple[str, ...]

    def __call__(self, text: str) -> str:
        """Read the value.

        Raises:
            ValueError: it is not one of them.
        """
        if text not in self.values:
            raise ValueError(text)
        return text


def one_of(*values: str) -> OneOf:
    """Make a reader of an attribute that has one of these values."""
    return OneOf(values)
