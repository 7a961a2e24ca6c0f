"""Creates netd's filters with the backend of the host.

Owns: the selection of the backend, made when the first binding is applied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from conf.domain.devices.interface import FilterRef
from conf.nwfilter import FilterBinding
from conf.nwfilter.parse import can_be_parameter
from supervisor.netd.firewall.backend_choice import Backend
from supervisor.netd.nwfilter.applier import Executor
from supervisor.netd.nwfilter.binding_files import BindingFiles
from supervisor.netd.nwfilter.ebiptables import Ebiptables
from supervisor.netd.nwfilter.filter_files import FilterFiles
from supervisor.netd.nwfilter.filters import Filters
from supervisor.netd.nwfilter.nft_bridge import NftBridge
from supervisor.netd.nwfilter.tap_plan import TapPlan
from supervisor.runtime.paths import Paths


class LazyExecutor:
    """The backend, selected when the first rule is applied."""

    def __init__(self, backend: Callable[[], Awaitable[Backend]]) -> None:
        self._backend = backend
        self._executor: Executor | None = None

    async def apply(self, plans: Mapping[str, TapPlan | None]) -> None:
        """Replace the chains of taps.

        Raises:
            VirError: CONFIG_UNSUPPORTED: no packet filter is installed; of the executor.
        """
        await (await self._selected()).apply(plans)

    async def taps(self) -> set[str]:
        """Return the taps that have chains.

        Raises:
            VirError: as `apply`.
        """
        return await (await self._selected()).taps()

    async def _selected(self) -> Executor:
        if self._executor is None:
            nft = await self._backend() is Backend.NFTABLES
            self._executor = NftBridge() if nft else Ebiptables()
        return self._executor


class InterfaceFilters:
    """Applies the <filterref> of interfaces."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters

    async def apply(self, tap: str, mac: str, filterref: FilterRef, domain: str, uuid: str) -> None:
        """Bind a filter to an interface; on return its traffic is filtered.

        Args:
            tap: the interface's device on the host.
            mac: the guest's.
            filterref: of the interface.
            domain: the guest's name.
            uuid: the guest's, as text.

        Raises:
            VirError: INTERNAL_ERROR, SYSTEM_ERROR, CONFIG_UNSUPPORTED, OPERATION_TIMEOUT: the
                previous filter remains.
        """
        variables: dict[str, tuple[str, ...]] = {}
        for parameter in filterref.parameters:
            if can_be_parameter(parameter.name, parameter.value):
                variables[parameter.name] = (*variables.get(parameter.name, ()), parameter.value)
        binding = FilterBinding(
            tap=tap,
            mac=mac,
            filter=filterref.filter,
            owner=domain,
            owner_uuid=uuid,
            variables=variables,
        )
        await self._filters.bind(binding)

    async def remove(self, tap: str) -> None:
        """Remove the filter of an interface if it has one.

        Raises:
            VirError: INTERNAL_ERROR, SYSTEM_ERROR, OPERATION_TIMEOUT: some of it is left.
        """
        await self._filters.release(tap)


def open_filters(paths: Paths, backend: Callable[[], Awaitable[Backend]]) -> Filters:
    """Create the filters of this host; `load` reads them.

    Args:
        paths: the daemon's.
        backend: finds out which packet filter is used.
    """
    files = FilterFiles(paths.etc / "nwfilter")
    bindings = BindingFiles(paths.run / "nwfilter-binding")
    return Filters(files, bindings, LazyExecutor(backend))
