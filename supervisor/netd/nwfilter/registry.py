"""Filters by name, bindings by tap.

Owns: both tables, in memory. May not touch: files, rules.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from conf.nwfilter import FilterBinding
from conf.nwfilter.model import Filter, Reference
from rpc.errors import ErrorCode
from rpc.values import Nwfilter
from supervisor.dispatch.service_errors import NWFILTER_ERRORS
from supervisor.netd.nwfilter.address_learning import LearnedAddress
from supervisor.netd.nwfilter.binding_plan import BindingPlan, plan_binding
from supervisor.netd.nwfilter.errors import no_binding, operation_failed
from supervisor.netd.nwfilter.references import references
from supervisor.objects.object import LibvirtObject
from supervisor.objects.object_type import ObjectType
from supervisor.objects.registry import Registry

RequiredRules = dict[str, tuple[FilterBinding, BindingPlan]]  # by tap


NWFILTERS: Final = ObjectType(
    name="filter",
    long_name="nwfilter",
    edit_command="nwfilter-edit",
    not_found=ErrorCode.NO_NWFILTER,
    errors=NWFILTER_ERRORS,
    conf_errors=NWFILTER_ERRORS,
)


@dataclass(slots=True, eq=False)
class FilterObject(LibvirtObject[Filter, None]):
    """One filter."""

    xml: str = ""  # as it is on disk

    @property
    def identity(self) -> Nwfilter:
        """The filter as clients name it."""
        return Nwfilter(self.name, self.uuid)


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
            VirError: INTERNAL_ERROR: it cannot be created.
        """
        need = plan_binding(self.definition, self.learned, find)
        if self.expires is None or not self.learned:
            return need
        return replace(need, lease=LearnedAddress(self.learned[-1], self.expires))


class FilterRegistry(Registry[FilterObject]):
    """The filters and bindings."""

    def __init__(self) -> None:
        super().__init__(NWFILTERS, FilterObject)
        self.bindings: dict[str, Binding] = {}

    def binding(self, tap: str) -> Binding:
        """Look up a tap's binding.

        Raises:
            VirError: NO_NWFILTER_BINDING.
        """
        if tap not in self.bindings:
            raise no_binding(tap)
        return self.bindings[tap]

    def find_filter(self, name: str) -> Filter | None:
        """Return a filter, or None."""
        obj = self.by_name(name)
        return obj.definition if obj is not None else None

    def users(self, name: str) -> list[Binding]:
        """Return the bindings that use a filter, directly or by reference."""
        return [
            binding
            for binding in self.bindings.values()
            if name in references(binding.definition.filter, self.find_filter)
        ]

    def required(self, bindings: list[Binding], candidate: Filter | None) -> RequiredRules:
        """Plan the rules of bindings as if a filter were defined as the candidate.

        Raises:
            VirError: INTERNAL_ERROR: one of them cannot have it.
        """

        def find(name: str) -> Filter | None:
            if candidate is not None and name == candidate.name:
                return candidate
            return self.find_filter(name)

        return {
            binding.definition.tap: (binding.definition, binding.plan(find)) for binding in bindings
        }

    def choose_uuid(self, name: str, requested: str) -> str:
        """Choose the UUID of a definition.

        Args:
            name: the filter's.
            requested: the UUID in the XML; "": none.

        Raises:
            VirError: OPERATION_FAILED: name and UUID belong to two filters.
        """
        existing = self.by_name(name)
        if existing is not None and requested not in ("", existing.uuid_text):
            raise operation_failed(f"filter '{name}' already exists with uuid {existing.uuid_text}")
        other = self.by_uuid(uuid.UUID(requested).bytes) if requested else None
        if other is not None and other.name != name:
            detail = f"filter with same UUID but different name ('{other.name}')"
            raise operation_failed(f"{detail} already exists")
        return existing.uuid_text if existing is not None else requested or str(uuid.uuid4())

    def refuse_loop(self, new: Filter) -> None:
        """Refuse a filter that references itself.

        Raises:
            VirError: OPERATION_FAILED.
        """
        for entry in new.entries:
            if isinstance(entry, Reference) and new.name in references(
                entry.filter, self.find_filter
            ):
                raise operation_failed(
                    f"filter would introduce a loop: '{entry.filter}' uses '{new.name}'"
                )
