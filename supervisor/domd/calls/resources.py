"""virDomain calls of a disk's I/O limits, NUMA memory, and counters of the host's processors.

Owns: one method per procedure, named as in the table. May touch: definitions; guests, through
their workers.
Source: libvirt 9.0, virDomainSetBlockIoTune, virDomainSetNumaParameters, virDomainSetPerfEvents.
"""

from __future__ import annotations

from collections.abc import Mapping

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.domain.iotune import check_values, set_iotune
from conf.domain.numatune import check_running, set_numa_memory
from conf.domain.perf import set_perf_events
from conf.domain.security import PERF_EVENTS
from conf.types.cpuset import cpuset
from rpc.enums import DomainModificationImpact as Impact
from rpc.enums import DomainNumatuneMemMode
from rpc.enums import TypedParameterType as P
from rpc.params import typed
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.calls.query import is_disk
from supervisor.domd.calls.tuning_access import TuningAccess, read_any, shown
from supervisor.domd.calls.tuning_values import IOTUNE, NUMA, iotune_values, numa_values
from supervisor.domd.change_domain import DomainChange
from supervisor.domd.domain import Definition
from supervisor.drivers.driver import TYPED_STRINGS
from supervisor.messages.worker import StatsParam
from supervisor.messages.worker_tuning import GetIotune, SetIotune, SetPerfEvents
from supervisor.objects.impact import IMPACT_FLAGS, select_for_query


class ResourceCalls:
    """Those calls."""

    def __init__(self, access: TuningAccess) -> None:
        self._access = access
        self._errors = access.errors
        self._registry = access.registry

    # Disks.

    async def domain_get_block_io_tune(
        self, call: ClientCall, dom: DomainId, disk: str | None, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the I/O limits of a disk; of the running guest they are QEMU's.

        Raises:
            VirError: INVALID_ARG: there is no such disk; OPERATION_INVALID; INTERNAL_ERROR: the
                running guest's drive has no medium; those of QEMU.
        """
        self._errors.check_flags("DomainGetBlockIoTune", flags, IMPACT_FLAGS | TYPED_STRINGS)
        domain = self._registry.find(dom)
        definition = select_for_query(domain, flags).domain
        if nparams == 0:
            return [], len(IOTUNE)
        if domain.is_active and not flags & Impact.CONFIG:
            sampled = await self._access.ask_guest(domain, GetIotune(path=disk or ""))
            values = {each.field: each.value for each in sampled.statistics}
            limits = shown({name: _exact(value) for name, value in values.items()}, flags)
        else:
            drive = find_disk(definition, disk or "")
            if drive is None:
                raise self._errors.invalid_arg(f"disk '{disk}' was not found in the domain config")
            limits = shown(iotune_values(drive), flags)
        return limits[:nparams], min(nparams, len(limits))

    async def domain_set_block_io_tune(
        self, call: ClientCall, dom: DomainId, disk: str, params: list[TypedParam], flags: int
    ) -> None:
        """Limit a disk's I/O, and that of the disks in its group.

        Raises:
            VirError: INVALID_ARG; ARGUMENT_UNSUPPORTED: a limit is too high; CONFIG_UNSUPPORTED: a
                burst below the limit; OPERATION_INVALID; those of QEMU.
        """
        self._errors.check_flags("DomainSetBlockIoTune", flags, IMPACT_FLAGS)
        values = read_any(params, IOTUNE)

        def edit(domain: Domain) -> None:
            drive = find_disk(domain, disk)
            if drive is None:
                detail = f"missing persistent configuration for disk '{disk}'"
                raise self._errors.invalid_arg(detail)
            set_iotune(domain, drive, values)

        change = DomainChange(
            name="block I/O tuning",
            check=lambda live, config: check_values(values),
            edit=edit,
            live_request=lambda _: SetIotune(
                path=disk, values=values, tunable=iotune_event(disk, values)
            ),
            revalidates=False,
        )
        await self._access.changer.change_domain(dom, flags, change)

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

    async def domain_set_numa_parameters(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Set the mode and nodeset of the memory's allocation.

        Raises:
            VirError: INVALID_ARG; CONFIG_UNSUPPORTED: there are no nodes; OPERATION_INVALID: the
                running guest's cannot be changed; OPERATION_UNSUPPORTED: in session mode;
                SYSTEM_ERROR: the host has no such node.
        """
        self._errors.check_flags("DomainSetNumaParameters", flags, IMPACT_FLAGS)
        values = read_any(params, NUMA)
        mode, nodeset = numa_mode(values, self._errors), values.get("numa_nodeset")
        nodes = cpuset(nodeset) if isinstance(nodeset, str) else None
        if nodes == "":
            detail = f"Invalid nodeset of 'numatune': {nodeset}"
            raise self._errors.operation_invalid(detail)

        def check(live: Definition | None) -> None:
            if live is not None:
                self._access.refuse_in_session("cpuset")
                check_running(live.resources, mode, nodes)

        words = {"mode": mode, "nodeset": nodes}
        await self._access.change(
            dom,
            flags,
            lambda domain: set_numa_memory(domain, mode, nodes),
            controller="cpuset",
            values={name: word for name, word in words.items() if word is not None},
            check=check,
        )

    # Counters of the host's.

    def domain_get_perf_events(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> list[TypedParam]:
        """Return which performance events are counted, by their names."""
        self._errors.check_flags("DomainGetPerfEvents", flags, IMPACT_FLAGS | TYPED_STRINGS)
        domain = select_for_query(self._registry.find(dom), flags).domain
        enabled = {event.name for event in domain.perf if event.enabled}
        return typed({name: int(name in enabled) for name in PERF_EVENTS})

    async def domain_set_perf_events(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Set which performance events are counted.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED, SYSTEM_ERROR: the host does not count one for the
                running guest; OPERATION_INVALID.
        """
        self._errors.check_flags("DomainSetPerfEvents", flags, IMPACT_FLAGS)
        events = {name: bool(value) for name, value in read_any(params, PERF_EVENTS).items()}
        change = DomainChange(
            name="performance events",
            edit=lambda domain: set_perf_events(domain, events),
            live_request=lambda _: SetPerfEvents(events=events),
            revalidates=False,
        )
        await self._access.changer.change_domain(dom, flags, change)


def _exact(value: float | str) -> int | str:
    return value if isinstance(value, str) else int(value)


def iotune_event(disk: str, values: Mapping[str, int | str]) -> tuple[StatsParam, ...]:
    """List the parameters of the TUNABLE event."""
    return (
        StatsParam("blkdeviotune.disk", P.STRING, disk),
        *(
            StatsParam(
                f"blkdeviotune.{name}", P.STRING if isinstance(value, str) else P.ULLONG, value
            )
            for name, value in values.items()
        ),
    )


def numa_mode(values: Mapping[str, int | str], errors: ServiceErrors) -> str | None:
    """Return the XML's word for a mode; None: there is none among the values.

    Raises:
        VirError: INVALID_ARG: there is no such mode.
    """
    number = values.get("numa_mode")
    if number is None:
        return None
    try:
        return DomainNumatuneMemMode(int(number)).name.lower()
    except ValueError:
        raise errors.invalid_arg(f"unsupported numatune mode: '{number}'") from None


def find_disk(domain: Domain, path: str) -> Disk | None:
    """Find the disk that a client names by its target or its source."""
    return next((disk for disk in domain.devices.disks if is_disk(disk, path)), None)
