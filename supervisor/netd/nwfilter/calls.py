"""virNWFilter and virNWFilterBinding calls.

Owns: one method per procedure, named as in the table. May touch: `Filters`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar

from conf.errors import ConfError
from rpc.errors import ErrorDomain
from rpc.values import Nwfilter, NwfilterBinding
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.schema import require_valid
from supervisor.dispatch.service_errors import NWFILTER_ERRORS
from supervisor.netd.nwfilter.filters import Filters
from supervisor.netd.nwfilter.registry import Binding

VALIDATE: Final = 1  # VIR_NWFILTER_DEFINE_VALIDATE, VIR_NWFILTER_BINDING_CREATE_VALIDATE

R = TypeVar("R")


class FilterCalls:
    """The calls; filters exist in the system daemon only."""

    def __init__(self, filters: Filters, *, session: bool) -> None:
        self._filters = filters
        self._session = session

    # Finding.

    def nwfilter_lookup_by_name(self, call: ClientCall, name: str) -> Nwfilter:
        """Look up a filter by name."""
        return self._filters.registry.get_by_name(name).identity

    def nwfilter_lookup_by_uuid(self, call: ClientCall, uuid: bytes) -> Nwfilter:
        """Look up a filter by UUID."""
        return self._filters.registry.get_by_uuid(uuid).identity

    def connect_num_of_nwfilters(self, call: ClientCall) -> int:
        """Count the filters."""
        return len(self._filters.registry)

    def connect_list_nwfilters(self, call: ClientCall, maxnames: int) -> list[str]:
        """List the names of filters."""
        return [obj.name for obj in self._filters.registry][: max(0, maxnames)]

    def connect_list_all_nwfilters(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[Nwfilter], int]:
        """List all filters."""
        NWFILTER_ERRORS.check_flags("nwfilterConnectListAllNWFilters", flags)
        filters = [obj.identity for obj in self._filters.registry]
        return filters if need_results else [], len(filters)

    def nwfilter_get_xml_desc(self, call: ClientCall, nwfilter: Nwfilter, flags: int) -> str:
        """Return a filter's XML."""
        NWFILTER_ERRORS.check_flags("nwfilterGetXMLDesc", flags)
        return self._filters.registry.find(nwfilter).xml

    # Changing.

    async def nwfilter_define_xml(self, call: ClientCall, xml: str) -> Nwfilter:
        """Define or redefine a filter and update the interfaces that use it."""
        return await self.nwfilter_define_xml_flags(call, xml, 0)

    async def nwfilter_define_xml_flags(self, call: ClientCall, xml: str, flags: int) -> Nwfilter:
        """Define or redefine a filter and update the interfaces that use it."""
        NWFILTER_ERRORS.check_flags("nwfilterDefineXMLFlags", flags, VALIDATE)
        await require_valid(xml, "nwfilter.rng", "filter", flags & VALIDATE)
        self._refuse_session("defining a filter")
        return (await _from_conf(self._filters.define(xml))).identity

    async def nwfilter_undefine(self, call: ClientCall, nwfilter: Nwfilter) -> None:
        """Undefine a filter that no interface uses."""
        self._refuse_session("undefining a filter")
        await self._filters.undefine(self._filters.registry.find(nwfilter).name)

    # Bindings.

    def nwfilter_binding_lookup_by_port_dev(self, call: ClientCall, name: str) -> NwfilterBinding:
        """Look up the binding of a tap."""
        return _binding_value(self._filters.registry.binding(name))

    def nwfilter_binding_get_xml_desc(
        self, call: ClientCall, nwfilter: NwfilterBinding, flags: int
    ) -> str:
        """Return a binding's XML."""
        NWFILTER_ERRORS.check_flags("nwfilterBindingGetXMLDesc", flags)
        return self._filters.registry.binding(nwfilter.portdev).xml

    async def nwfilter_binding_create_xml(
        self, call: ClientCall, xml: str, flags: int
    ) -> NwfilterBinding:
        """Create a binding: filter a tap's traffic."""
        NWFILTER_ERRORS.check_flags("nwfilterBindingCreateXML", flags, VALIDATE)
        await require_valid(xml, "nwfilterbinding.rng", "filterbinding", flags & VALIDATE)
        self._refuse_session("binding a filter")
        return _binding_value(await _from_conf(self._filters.create_binding(xml)))

    async def nwfilter_binding_delete(self, call: ClientCall, nwfilter: NwfilterBinding) -> None:
        """Delete a binding: the tap's traffic is no longer filtered."""
        self._refuse_session("deleting a binding")
        await self._filters.unbind(nwfilter.portdev)

    def connect_list_all_nwfilter_bindings(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[NwfilterBinding], int]:
        """List all bindings."""
        NWFILTER_ERRORS.check_flags("nwfilterConnectListAllNWFilterBindings", flags)
        bindings = [_binding_value(binding) for binding in self._filters.registry.bindings.values()]
        return bindings if need_results else [], len(bindings)

    def _refuse_session(self, action: str) -> None:
        if self._session:
            raise NWFILTER_ERRORS.needs_system_daemon(action)


def _binding_value(binding: Binding) -> NwfilterBinding:
    return NwfilterBinding(binding.definition.tap, binding.definition.filter)


async def _from_conf(work: Awaitable[R]) -> R:
    """Await an operation and convert `ConfError`."""
    try:
        return await work
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.NWFILTER) from error
