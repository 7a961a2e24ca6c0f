"""Values that must not stand twice.

Owns: finding the first that does, in one pass: documents have as many as a client likes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def first_repeated(values: Iterable[T]) -> T | None:
    """Return the first value that another one later equals; None: all differ."""
    seen: set[T] = set()
    repeated: set[T] = set()
    in_order = list(values)
    for value in in_order:
        (repeated if value in seen else seen).add(value)
    return next((value for value in in_order if value in repeated), None)
