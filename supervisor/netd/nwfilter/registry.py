"""Filters by name, bindings by tap.

Owns: both tables, in memory. May not touch: files, rules.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from conf.nwfilter import FilterBinding
from conf.nwfilter.model import Filter, Reference
from supervisor.netd.nwfilter.address_learning import Lease
from supervisor.netd.nwfilter.binding_plan import BindingPlan, plan_binding
from supervisor.netd.nwfilter.errors import no_binding, no_filter, operation_failed
from supervisor.netd.nwfilter.references import references

RequiredRules = dict[str, tuple[FilterBinding, BindingPlan]]  # by tap


@dataclass(frozen=True, slots=True)
class FilterDefinition:
    """A defined filter."""

    filter: Filter
    uuid: str
    xml: str


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding of a filter to a tap."""

    definition: FilterBinding
    xml: str
    learned: tuple[str, ...] = ()
    expires: float | None = None  # end of the learned address's lease

    def plan(self, find: Callable[[str], Filter | None]) -> BindingPlan:
        """Plan the tap's rules.

        Raises:
            VirError: INTERNAL_ERROR: it cannot be had.
        """
        need = plan_binding(self.definition, self.learned, find)
        if self.expires is None or not self.learned:
            return need
        return replace(need, lease=Lease(self.learned[-1], self.expires))


class FilterRegistry:
    """The filters and bindings."""

    def __init__(self) -> None:
        self.filters: dict[str, FilterDefinition] = {}
        self.bindings: dict[str, Binding] = {}

    def by_name(self, name: str) -> FilterDefinition:
        """Look up a filter by name.

        Raises:
            VirError: NO_NWFILTER.
        """
        if name not in self.filters:
            raise no_filter(f"with matching name '{name}'")
        return self.filters[name]

    def by_uuid(self, identity: str) -> FilterDefinition:
        """Look up a filter by UUID.

        Raises:
            VirError: NO_NWFILTER.
        """
        for defined in self.filters.values():
            if defined.uuid == identity:
                return defined
        raise no_filter(f"with matching uuid '{identity}'")

    def binding(self, tap: str) -> Binding:
        """Look up a tap's binding.

        Raises:
            VirError: NO_NWFILTER_BINDING.
        """
        if tap not in self.bindings:
            raise no_binding(tap)
        return self.bindings[tap]

    def find(self, name: str) -> Filter | None:
        """Return a filter, or None."""
        defined = self.filters.get(name)
        return defined.filter if defined is not None else None

    def users(self, name: str) -> list[Binding]:
        """Return the bindings that use a filter, directly or by reference."""
        return [
            binding
            for binding in self.bindings.values()
            if name in references(binding.definition.filter, self.find)
        ]

    def required(self, bindings: list[Binding], candidate: Filter | None) -> RequiredRules:
        """Plan the rules of bindings as if a filter were defined as the candidate.

        Raises:
            VirError: INTERNAL_ERROR: one of them cannot have it.
        """

        def find(name: str) -> Filter | None:
            if candidate is not None and name == candidate.name:
                return candidate
            return self.find(name)

        return {
            binding.definition.tap: (binding.definition, binding.plan(find)) for binding in bindings
        }

    def choose_uuid(self, name: str, requested: str) -> str:
        """Choose the UUID of a definition.

        Args:
            name: the filter's.
            requested: what its document says; "": nothing.

        Raises:
            VirError: OPERATION_FAILED: name and UUID belong to two filters.
        """
        existing = self.filters.get(name)
        if existing is not None and requested not in ("", existing.uuid):
            raise operation_failed(f"filter '{name}' already exists with uuid {existing.uuid}")
        for other in self.filters.values():
            if other.uuid == requested and other.filter.name != name:
                detail = f"filter with same UUID but different name ('{other.filter.name}')"
                raise operation_failed(f"{detail} already exists")
        return existing.uuid if existing is not None else requested or str(uuid.uuid4())

    def refuse_loop(self, new: Filter) -> None:
        """Refuse a filter that references itself.

        Raises:
            VirError: OPERATION_FAILED.
        """
        for entry in new.entries:
            if isinstance(entry, Reference) and new.name in references(entry.filter, self.find):
                raise operation_failed(
                    f"filter would introduce a loop: '{entry.filter}' uses '{new.name}'"
                )
