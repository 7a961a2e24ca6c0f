"""The filters and bindings that there are.

Owns: both tables, in memory. May not touch: files, rules.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from conf.nwfilter import FilterBinding
from conf.nwfilter.model import Filter, Reference
from supervisor.netd.nwfilter.address_learning import Lease
from supervisor.netd.nwfilter.binding_plan import Needed, needed
from supervisor.netd.nwfilter.errors import failed, no_binding, no_filter
from supervisor.netd.nwfilter.references import references

Wanted = dict[str, tuple[FilterBinding, Needed]]  # by tap


@dataclass(frozen=True, slots=True)
class Defined:
    """A filter as it is defined."""

    filter: Filter
    uuid: str
    xml: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding as it stands."""

    binding: FilterBinding
    xml: str
    learned: tuple[str, ...] = ()
    until: float | None = None  # when the lease of the one that was learned ends

    def needed(self, find: Callable[[str], Filter | None]) -> Needed:
        """What its tap needs now.

        Raises:
            VirError: INTERNAL_ERROR: it cannot be had.
        """
        need = needed(self.binding, self.learned, find)
        if self.until is None or not self.learned:
            return need
        return replace(need, lease=Lease(self.learned[-1], self.until))


class Registry:
    """Every filter by name, every binding by tap."""

    def __init__(self) -> None:
        """Begin with none."""
        self.filters: dict[str, Defined] = {}
        self.bound: dict[str, Bound] = {}

    def by_name(self, name: str) -> Defined:
        """A filter.

        Raises:
            VirError: NO_NWFILTER.
        """
        if name not in self.filters:
            raise no_filter(f"with matching name '{name}'")
        return self.filters[name]

    def by_uuid(self, identity: str) -> Defined:
        """A filter.

        Raises:
            VirError: NO_NWFILTER.
        """
        for defined in self.filters.values():
            if defined.uuid == identity:
                return defined
        raise no_filter(f"with matching uuid '{identity}'")

    def binding(self, tap: str) -> Bound:
        """A tap's binding.

        Raises:
            VirError: NO_NWFILTER_BINDING.
        """
        if tap not in self.bound:
            raise no_binding(tap)
        return self.bound[tap]

    def find(self, name: str) -> Filter | None:
        """A filter's content, or None."""
        defined = self.filters.get(name)
        return defined.filter if defined is not None else None

    def users(self, name: str) -> list[Bound]:
        """The bindings whose filter is this one or refers to it."""
        return [
            bound
            for bound in self.bound.values()
            if name in references(bound.binding.filter, self.find)
        ]

    def wanted(self, bindings: list[Bound], candidate: Filter | None) -> Wanted:
        """What bindings need if a filter were the candidate.

        Raises:
            VirError: INTERNAL_ERROR: one of them cannot have it.
        """

        def find(name: str) -> Filter | None:
            if candidate is not None and name == candidate.name:
                return candidate
            return self.find(name)

        return {bound.binding.tap: (bound.binding, bound.needed(find)) for bound in bindings}

    def choose_uuid(self, name: str, wanted: str) -> str:
        """The UUID that a definition gets.

        Args:
            name: the filter's.
            wanted: what its document says; "": nothing.

        Raises:
            VirError: OPERATION_FAILED: name and UUID belong to two filters.
        """
        own = self.filters.get(name)
        if own is not None and wanted not in ("", own.uuid):
            raise failed(f"filter '{name}' already exists with uuid {own.uuid}")
        for other in self.filters.values():
            if other.uuid == wanted and other.filter.name != name:
                detail = f"filter with same UUID but different name ('{other.filter.name}')"
                raise failed(f"{detail} already exists")
        return own.uuid if own is not None else wanted or str(uuid.uuid4())

    def refuse_loop(self, new: Filter) -> None:
        """Refuse a filter that would contain itself.

        Raises:
            VirError: OPERATION_FAILED.
        """
        for entry in new.entries:
            if isinstance(entry, Reference) and new.name in references(entry.filter, self.find):
                raise failed(f"filter would introduce a loop: '{entry.filter}' uses '{new.name}'")
