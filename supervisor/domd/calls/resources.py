"""virDomain calls of a disk's I/O limits, NUMA memory, and counters of the host's processors.

Owns: one method per procedure, named as in the table. May touch: definitions; guests, through
their workers.
Source: libvirt 9.0, virDomainSetBlockIoTune, virDomainSetNumaParameters, virDomainSetPerfEvents.
"""

from __future__ import annotations

from conf.domain.security import PERF_EVENTS
from rpc.params import typed
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.calls.query import is_disk
from supervisor.domd.calls.tuning_access import TuningAccess, shown
from supervisor.domd.calls.tuning_values import IOTUNE, NUMA, iotune_values, numa_values
from supervisor.drivers.driver import TYPED_STRINGS
from supervisor.objects.impact import IMPACT_FLAGS, select_for_query


class ResourceCalls:
    """Those calls."""

    def __init__(self, access: TuningAccess) -> None:
        self._access = access
        self._errors = access.errors
        self._registry = access.registry

    def domain_get_block_io_tune(
        self, call: ClientCall, dom: DomainId, disk: str | None, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the I/O limits of a disk; of the running guest they are those it was given.

        Raises:
            VirError: INVALID_ARG: there is no such disk; OPERATION_INVALID.
        """
        self._errors.check_flags("DomainGetBlockIoTune", flags, IMPACT_FLAGS | TYPED_STRINGS)
        domain = select_for_query(self._registry.find(dom), flags).domain
        if nparams == 0:
            return [], len(IOTUNE)
        drive = next((each for each in domain.devices.disks if is_disk(each, disk or "")), None)
        if drive is None:
            raise self._errors.invalid_arg(f"disk '{disk}' was not found in the domain config")
        limits = shown(iotune_values(drive), flags)[:nparams]
        return limits, len(limits)

    # Host memory cells.

    async def domain_get_numa_parameters(
        self, call: ClientCall, dom: DomainId, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the mode and nodeset of the memory's allocation."""
        self._errors.check_flags("DomainGetNumaParameters", flags, IMPACT_FLAGS | TYPED_STRINGS)
        domain = select_for_query(self._registry.find(dom), flags).domain
        if nparams == 0:
            return [], len(NUMA)
        parameters = shown(numa_values(domain), flags)[:nparams]
        return parameters, len(parameters)

    # Counters of the host's.

    def domain_get_perf_events(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> list[TypedParam]:
        """Return which performance events are counted, by their names."""
        self._errors.check_flags("DomainGetPerfEvents", flags, IMPACT_FLAGS | TYPED_STRINGS)
        domain = select_for_query(self._registry.find(dom), flags).domain
        enabled = {event.name for event in domain.perf if event.enabled}
        return typed({name: int(name in enabled) for name in PERF_EVENTS})
