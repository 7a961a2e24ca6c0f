"""MomentTree: the snapshots or the checkpoints of one domain, and who is whose parent.

Owns: that, and which one is current. Pure. May not touch: files, what a moment consists of.
Source: libvirt 9.0, virDomainMomentObjList.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from conf.errors import ConfError


def _do_nothing() -> None:
    """Do nothing: nobody follows the changes."""


class Moment(Protocol):
    """What a snapshot and a checkpoint have in common (libvirt's virDomainMomentDef)."""

    name: str
    parent: str | None
    creation_time: int | None  # seconds since the epoch


T = TypeVar("T", bound=Moment)


class MomentTree(Generic[T]):
    """The moments of one kind that one domain has."""

    def __init__(self) -> None:
        self._moments: dict[str, T] = {}
        self._children: dict[str, list[str]] | None = None  # by parent; "" for none
        self._current: str | None = None
        self.changes = 0  # counts them
        #: Called at each change, of the relations too.
        self.on_change: Callable[[], None] = _do_nothing

    def __len__(self) -> int:
        return len(self._moments)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._moments.values()))

    @property
    def current(self) -> str | None:
        """The name of the current moment."""
        return self._current

    @current.setter
    def current(self, name: str | None) -> None:
        self._current = name
        self.on_change()

    def get(self, name: str) -> T | None:
        """Return a moment; None: there is none of that name."""
        return self._moments.get(name)

    def put(self, moment: T) -> None:
        """Add a moment, or put another in its place."""
        self._moments[moment.name] = moment
        self.moved()

    def remove(self, name: str) -> None:
        """Remove a moment; its children have been given another parent, or are removed too."""
        del self._moments[name]
        if self._current == name:
            self._current = None
        self.moved()

    def clear(self) -> None:
        """Forget everything."""
        self._moments.clear()
        self._current = None
        self.moved()

    def moved(self) -> None:
        """Have the relations found anew: one got another parent."""
        self._children = None
        self.changes += 1
        self.on_change()

    # Relations.

    def parent(self, name: str) -> str | None:
        """Return a moment's parent; None: it is a root."""
        return next((parent for parent, below in self._tree().items() if name in below), "") or None

    def children(self, name: str) -> list[str]:
        """List the direct children of a moment, or ("") the roots."""
        return list(self._tree().get(name, ()))

    def descendants(self, name: str) -> list[str]:
        """List what is below a moment, or ("") everything: parents before their children."""
        found: list[str] = []
        waiting = self.children(name)[::-1]
        while waiting:
            found.append(waiting.pop())
            waiting += self.children(found[-1])[::-1]
        return found

    def ancestors(self, name: str) -> list[str]:
        """List a moment's parent, its parent, and so on to the root."""
        parents = {child: parent for parent, below in self._tree().items() for child in below}
        found: list[str] = []
        while parent := parents.get(name):
            found.append(parent)
            name = parent
        return found

    def _tree(self) -> dict[str, list[str]]:
        """Return the children of each moment; who lacks its parent, or is its own, is a root."""
        if self._children is None:
            self._children = {"": []}
            for moment in self._moments.values():
                parent = moment.parent or ""
                if parent not in self._moments or self._is_circular(moment):
                    parent = ""
                self._children.setdefault(parent, []).append(moment.name)
        return self._children

    def _is_circular(self, moment: T) -> bool:
        seen = {moment.name}
        at: T | None = moment
        while at is not None and at.parent:
            if at.parent in seen:
                return True
            seen.add(at.parent)
            at = self._moments.get(at.parent)
        return False

    def check_parent(self, moment: T) -> None:
        """Refuse a redefined moment whose parent cannot be.

        Raises:
            ConfError: "invalid_arg".
        """
        parent = moment.parent
        if not parent:
            return
        if parent == moment.name:
            detail = f"cannot set moment {moment.name} as its own parent"
            raise ConfError("invalid_arg", detail)
        at = self.get(parent)
        if at is None:
            detail = f"parent {parent} for moment {moment.name} not found"
            raise ConfError("invalid_arg", detail)
        seen = {moment.name}
        while at is not None and at.parent:
            if at.parent == moment.name:
                detail = f"parent {parent} would create cycle to {moment.name}"
                raise ConfError("invalid_arg", detail)
            if at.parent in seen:
                return  # a circle that was there before
            seen.add(at.parent)
            at = self.get(at.parent)

    # Lists.

    def select(self, *, deep: bool, below: str = "") -> list[T]:
        """List moments, parents before children.

        Args:
            deep: with the children's children.
            below: the moment whose children are listed; "": the roots are.
        """
        names = self.descendants(below) if deep else self.children(below)
        return [self._moments[name] for name in names]

    def has_children(self, name: str) -> bool:
        """Return whether a moment is the parent of another one."""
        return bool(self._tree().get(name))

    def sort(self) -> None:
        """Put the moments in the order in which they were made."""
        by_age = sorted(self._moments.values(), key=lambda one: one.creation_time or 0)
        self._moments = {moment.name: moment for moment in by_age}
        self.moved()
