"""Readahead: which domains a client that asks for one after the other will ask for next.

Owns: where in the list the last of them was. May not touch: files, workers.

Monitoring and management clients list all domains and ask for the XML of each. Like a file that is
read from front to back, the next ones can go along with a reply, and cost no hop each.
"""

from __future__ import annotations

from typing import Final

from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry

AHEAD: Final = 16  # domains that go along with a reply
SKIPPED: Final = 16  # domains that a client may leave out, as one that lists the running ones


class Readahead:
    """Follows one query over a registry's domains."""

    def __init__(self, registry: DomainRegistry) -> None:
        self._registry = registry
        self._changes = -1  # of the registry when the order was taken
        self._order: list[DomainObject] = []
        self._places: dict[bytes, int] = {}  # in the order, by UUID
        self._next = 0  # the place that would follow

    def after(self, domain: DomainObject) -> list[DomainObject]:
        """Return the domains to read ahead; none unless this one follows the last."""
        if self._changes != self._registry.changes:
            self._changes = self._registry.changes
            self._order.clear()  # not taken yet: the next query may come after another change
            self._places.clear()
            return []
        if not self._order:
            self._order = list(self._registry)
            self._places = {each.uuid: place for place, each in enumerate(self._order)}
            self._next = self._places.get(domain.uuid, 0)  # the query before was the first
        place = self._places.get(domain.uuid)
        if place is None:
            return []
        follows = self._next <= place <= self._next + SKIPPED
        self._next = place + 1
        if not follows:
            return []
        ahead = self._order[self._next : self._next + AHEAD]
        self._next += len(ahead)
        return ahead
