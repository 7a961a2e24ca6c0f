"""Listing: the filter flags of virConnectListAll….

Owns: how groups of flags combine, and the groups that most types of objects have. Pure.
Source: libvirt 9.0, virConnectListAllDomains: flags of one group are alternatives, groups add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

from supervisor.objects.object import LibvirtObject

T = TypeVar("T")
Group = tuple[tuple[int, Callable[[T], bool]], ...]


def either(yes: int, no: int, check: Callable[[T], bool]) -> Group[T]:
    """Make the group of a flag and its opposite."""
    return ((yes, check), (no, lambda item: not check(item)))


def is_active(obj: LibvirtObject[Any, Any]) -> bool:
    """Return whether an object is active."""
    return obj.is_active


def is_persistent(obj: LibvirtObject[Any, Any]) -> bool:
    """Return whether an object is persistent."""
    return obj.is_persistent


def has_autostart(obj: LibvirtObject[Any, Any]) -> bool:
    """Return whether an object starts with the host."""
    return obj.autostart


class ListFilter(Generic[T]):
    """The filter flags of one call."""

    def __init__(self, *groups: Group[T]) -> None:
        """Make the filter.

        Args:
            groups: flags that are alternatives, each with what holds of an item that passes it.
        """
        self._groups: Final = groups
        self.flags: Final = sum(flag for group in groups for flag, _ in group)

    def select(self, items: Iterable[T], flags: int) -> list[T]:
        """Return the items that pass the client's flags; a group without a flag is no filter."""
        groups = [
            checks
            for group in self._groups
            if (checks := [check for flag, check in group if flags & flag])
            and len(checks) < len(group)  # all alternatives: every item has one
        ]
        return [
            item for item in items if all(any(check(item) for check in group) for group in groups)
        ]
