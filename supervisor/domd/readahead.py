"""Readahead: which objects a client that asks for one after the other will ask for next.

Owns: where in the list the last of them was. May not touch: files, workers.

Monitoring and management clients list all domains, or all snapshots of one, and ask for the XML of
each. Like a file that is read from front to back, the next ones can go along with a reply, and cost
no hop each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, Protocol, TypeVar

AHEAD: Final = 16  # objects that go along with a reply
SKIPPED: Final = 16  # objects that a client may leave out, as one that lists the running ones

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Listed(Protocol[T_co]):
    """Objects in the order in which clients get them."""

    @property
    def changes(self) -> int:
        """How often an object came or went."""

    def __iter__(self) -> Iterator[T_co]:
        """Iterate over the objects."""


class Readahead(Generic[T]):
    """Follows one query over listed objects."""

    def __init__(self, objects: Listed[T], key: Callable[[T], Hashable]) -> None:
        """Follow nothing yet.

        Args:
            objects: that are asked for, in their order.
            key: tells one from the other.
        """
        self._objects = objects
        self._key = key
        self._changes = -1  # of the objects when the order was taken
        self._order: list[T] = []
        self._places: dict[Hashable, int] = {}  # in the order, by key
        self._next = 0  # the place that would follow

    def after(self, asked: T) -> list[T]:
        """Return the objects to read ahead; none unless this one follows the last."""
        if self._changes != self._objects.changes:
            self._changes = self._objects.changes
            self._order.clear()  # not taken yet: the next query may come after another change
            self._places.clear()
            return []
        if not self._order:
            self._order = list(self._objects)
            self._places = {self._key(each): place for place, each in enumerate(self._order)}
            self._next = self._places.get(self._key(asked), 0)  # the query before was the first
        place = self._places.get(self._key(asked))
        if place is None:
            return []
        follows = self._next <= place <= self._next + SKIPPED
        self._next = place + 1
        if not follows:
            return []
        ahead = self._order[self._next : self._next + AHEAD]
        self._next += len(ahead)
        return ahead
