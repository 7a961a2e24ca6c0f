"""Clients' calls on filters and their bindings.

Owns: one method per procedure, named as in the table. May touch: `Filters`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar
from uuid import UUID

from conf.errors import ConfError
from rpc.errors import ErrorDomain
from rpc.values import Nwfilter, NwfilterBinding
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.service_errors import NWFILTER_ERRORS
from supervisor.netd.nwfilter.filters import Filters
from supervisor.netd.nwfilter.registry import Binding, FilterDefinition

VALIDATE: Final = 1  # VIR_NWFILTER_DEFINE_VALIDATE: documents are always checked in full

R = TypeVar("R")


class FilterCalls:
    """What clients may ask of filters."""

    def __init__(self, filters: Filters, *, session: bool) -> None:
        """Answer from these filters; a user's own daemon has none and makes none."""
        self._filters = filters
        self._session = session

    # Finding.

    def nwfilter_lookup_by_name(self, call: ClientCall, name: str) -> Nwfilter:
        """The filter of a name."""
        return _filter_value(self._filters.registry.by_name(name))

    def nwfilter_lookup_by_uuid(self, call: ClientCall, uuid: bytes) -> Nwfilter:
        """The filter of a UUID."""
        return _filter_value(self._filters.registry.by_uuid(str(UUID(bytes=uuid))))

    def connect_num_of_nwfilters(self, call: ClientCall) -> int:
        """How many filters are defined."""
        return len(self._filters.registry.filters.values())

    def connect_list_nwfilters(self, call: ClientCall, maxnames: int) -> list[str]:
        """The names of filters."""
        return list(self._filters.registry.filters)[: max(0, maxnames)]

    def connect_list_all_nwfilters(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[Nwfilter], int]:
        """Every filter."""
        NWFILTER_ERRORS.check_flags("nwfilterConnectListAllNWFilters", flags)
        found = [_filter_value(defined) for defined in self._filters.registry.filters.values()]
        return found if need_results else [], len(found)

    def nwfilter_get_xml_desc(self, call: ClientCall, nwfilter: Nwfilter, flags: int) -> str:
        """A filter's document."""
        NWFILTER_ERRORS.check_flags("nwfilterGetXMLDesc", flags)
        return self._filters.registry.by_uuid(str(UUID(bytes=nwfilter.uuid))).xml

    # Changing.

    async def nwfilter_define_xml(self, call: ClientCall, xml: str) -> Nwfilter:
        """Define a filter, or change it for every card that uses it."""
        return await self.nwfilter_define_xml_flags(call, xml, 0)

    async def nwfilter_define_xml_flags(self, call: ClientCall, xml: str, flags: int) -> Nwfilter:
        """Define a filter, or change it for every card that uses it."""
        NWFILTER_ERRORS.check_flags("nwfilterDefineXMLFlags", flags, VALIDATE)
        self._refuse_session("defining a filter")
        return _filter_value(await _from_conf(self._filters.define(xml)))

    async def nwfilter_undefine(self, call: ClientCall, nwfilter: Nwfilter) -> None:
        """Undefine a filter that no card uses."""
        self._refuse_session("undefining a filter")
        defined = self._filters.registry.by_uuid(str(UUID(bytes=nwfilter.uuid)))
        await self._filters.undefine(defined.filter.name)

    # Bindings.

    def nwfilter_binding_lookup_by_port_dev(self, call: ClientCall, name: str) -> NwfilterBinding:
        """The binding of a tap."""
        return _binding_value(self._filters.registry.binding(name))

    def nwfilter_binding_get_xml_desc(
        self, call: ClientCall, nwfilter: NwfilterBinding, flags: int
    ) -> str:
        """A binding's document."""
        NWFILTER_ERRORS.check_flags("nwfilterBindingGetXMLDesc", flags)
        return self._filters.registry.binding(nwfilter.portdev).xml

    async def nwfilter_binding_create_xml(
        self, call: ClientCall, xml: str, flags: int
    ) -> NwfilterBinding:
        """Bind a filter to a tap."""
        NWFILTER_ERRORS.check_flags("nwfilterBindingCreateXML", flags, VALIDATE)
        self._refuse_session("binding a filter")
        return _binding_value(await _from_conf(self._filters.create_binding(xml)))

    async def nwfilter_binding_delete(self, call: ClientCall, nwfilter: NwfilterBinding) -> None:
        """Let a tap's traffic pass unfiltered."""
        self._refuse_session("deleting a binding")
        await self._filters.unbind(nwfilter.portdev)

    def connect_list_all_nwfilter_bindings(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[NwfilterBinding], int]:
        """Every binding."""
        NWFILTER_ERRORS.check_flags("nwfilterConnectListAllNWFilterBindings", flags)
        found = [_binding_value(bound) for bound in self._filters.registry.bindings.values()]
        return found if need_results else [], len(found)

    def _refuse_session(self, doing: str) -> None:
        if self._session:
            raise NWFILTER_ERRORS.needs_system_daemon(doing)


def _filter_value(defined: FilterDefinition) -> Nwfilter:
    return Nwfilter(defined.filter.name, UUID(defined.uuid).bytes)


def _binding_value(bound: Binding) -> NwfilterBinding:
    return NwfilterBinding(bound.definition.tap, bound.definition.filter)


async def _from_conf(work: Awaitable[R]) -> R:
    """Await work; what a document lacks is told as of the nwfilter part."""
    try:
        return await work
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.NWFILTER) from error
