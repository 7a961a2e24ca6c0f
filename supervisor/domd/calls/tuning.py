"""virDomain tuning calls: memory, CPU scheduler and block I/O parameters, most for containers.

Owns: one method per procedure, named as in the table; the order: the definition is planned first,
then the container changes, then the definition is kept. So what is refused changes nothing.
May touch: definitions; containers, through their workers.
Source: libvirt 9.0's lxc driver: virDomainSetMemoryParameters and its kin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.security import PERF_EVENTS
from conf.domain.tuning import Blkiotune, Cputune, Memtune
from conf.types.size import Amount
from rpc.enums import DomainMemoryModFlags
from rpc.enums import DomainModificationImpact as Impact
from rpc.params import declared, read_params, typed
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.calls.query import is_disk
from supervisor.domd.calls.tuning_values import (
    BLKIO,
    IOTUNE,
    MEMORY,
    NUMA,
    UNLIMITED_KIB,
    Values,
    blkio_values,
    iotune_values,
    memory_values,
    numa_values,
    scheduler_values,
)
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.workers import Workers
from supervisor.drivers.driver import TYPED_STRINGS, Driver
from supervisor.messages.worker import GetTuning, SetTuning
from supervisor.objects.impact import (
    IMPACT_FLAGS,
    select_for_change,
    select_for_query,
)

NO_CPU_CONTROLLER: Final = "cgroup CPU controller is not mounted"
MAXIMUM: Final = int(DomainMemoryModFlags.MAXIMUM)

Edit = Callable[[Domain], None]


class TuningCalls:
    """The tuning calls."""

    def __init__(
        self,
        registry: DomainRegistry,
        changer: DomainChanger,
        workers: Workers,
        driver: Driver,
    ) -> None:
        self._scheduler = driver.scheduler_parameters
        self._has_cgroups = driver.has_cgroups
        self._registry = registry
        self._errors = registry.errors
        self._changer = changer
        self._workers = workers

    # Processor time.

    def domain_get_scheduler_type(self, call: ClientCall, dom: DomainId) -> tuple[str, int]:
        """Return the scheduler's name and its number of parameters.

        Raises:
            VirError: OPERATION_INVALID: the running guest is in no cgroup with a CPU controller.
        """
        domain = self._registry.find(dom)
        if domain.is_active and not self._has_cgroups:
            raise domain.errors.operation_invalid(NO_CPU_CONTROLLER)
        return "posix", len(self._scheduler)

    async def domain_get_scheduler_parameters(
        self, call: ClientCall, dom: DomainId, nparams: int
    ) -> list[TypedParam]:
        """Return CPU shares and CFS bandwidth in force."""
        return await self.domain_get_scheduler_parameters_flags(call, dom, nparams, 0)

    async def domain_get_scheduler_parameters_flags(
        self, call: ClientCall, dom: DomainId, nparams: int, flags: int
    ) -> list[TypedParam]:
        """Return CPU shares and CFS bandwidth, live or of the definition."""
        self._errors.check_flags(
            "DomainGetSchedulerParametersFlags", flags, IMPACT_FLAGS | TYPED_STRINGS
        )
        self._require_controller(dom, flags, NO_CPU_CONTROLLER)
        parameters = await self._read(dom, flags, self._scheduler, scheduler_values)
        return parameters[:nparams]

    async def domain_set_scheduler_parameters(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam]
    ) -> None:
        """Set CPU shares or CFS bandwidth of the running container."""
        await self.domain_set_scheduler_parameters_flags(call, dom, params, 0)

    async def domain_set_scheduler_parameters_flags(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Set CPU shares or CFS bandwidth.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID; SYSTEM_ERROR for what the kernel refuses.
        """
        self._errors.check_flags("DomainSetSchedulerParametersFlags", flags, IMPACT_FLAGS)
        values = read_values(params, self._scheduler)

        def edit(domain: Domain) -> None:
            tune = domain.cputune = domain.cputune or Cputune()
            tune.shares = values.get("cpu_shares", tune.shares)
            tune.period = values.get("vcpu_period", tune.period)
            tune.quota = values.get("vcpu_quota", tune.quota)

        await self._change(dom, flags, edit)

    # Memory.

    async def domain_get_memory_parameters(
        self, call: ClientCall, dom: DomainId, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the memory limits in KiB."""
        self._errors.check_flags("DomainGetMemoryParameters", flags, IMPACT_FLAGS | TYPED_STRINGS)
        self._require_controller(dom, flags, "cgroup memory controller is not mounted")
        return await self._read_some(dom, nparams, flags, MEMORY, memory_values)

    async def domain_set_memory_parameters(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Set the memory limits.

        Raises:
            VirError: INVALID_ARG: swap below memory; OPERATION_INVALID; SYSTEM_ERROR.
        """
        self._errors.check_flags("DomainSetMemoryParameters", flags, IMPACT_FLAGS)
        values = read_values(params, MEMORY)

        def edit(domain: Domain) -> None:
            tune = domain.memtune = domain.memtune or Memtune()
            for name, value in values.items():
                setattr(tune, name, Amount(amount=min(value, UNLIMITED_KIB)))
            check_swap_limit(tune, self._errors)

        await self._change(dom, flags, edit)

    async def domain_set_memory(self, call: ClientCall, dom: DomainId, memory: int) -> None:
        """Set the current memory of a running container, in KiB."""
        await self.domain_set_memory_flags(call, dom, memory, int(Impact.LIVE))

    async def domain_set_max_memory(self, call: ClientCall, dom: DomainId, memory: int) -> None:
        """Set the maximum memory of a container, in KiB."""
        await self.domain_set_memory_flags(call, dom, memory, MAXIMUM)

    async def domain_set_memory_flags(
        self, call: ClientCall, dom: DomainId, memory: int, flags: int
    ) -> None:
        """Set a container's current or maximum memory.

        Raises:
            VirError: INVALID_ARG: more than it may have; OPERATION_INVALID: it runs.
        """
        self._errors.check_flags("DomainSetMemoryFlags", flags, IMPACT_FLAGS | MAXIMUM)
        if flags & MAXIMUM:
            await self._set_maximum(dom, memory, flags & ~MAXIMUM)
            return

        def edit(domain: Domain) -> None:
            if memory > domain.memory:
                detail = f"Cannot set memory ({memory} KiB) higher than max memory {domain.memory}"
                raise self._errors.invalid_arg(detail)
            domain.current_memory = Amount(amount=memory)

        await self._change(dom, flags, edit)

    async def _set_maximum(self, dom: DomainId, memory: int, flags: int) -> None:
        if select_for_change(self._registry.find(dom), flags)[0] is not None:
            detail = "Cannot resize the max memory on an active domain"
            raise self._errors.operation_invalid(detail)

        def edit(domain: Domain) -> None:
            assert domain.boot_memory is not None, "every definition has its memory"
            domain.boot_memory.amount, domain.boot_memory.unit = memory, "KiB"
            if domain.current_memory is not None:
                current = min(domain.current_memory.amount, memory)
                domain.current_memory = Amount(amount=current)

        await self._change(dom, flags, edit)

    # Disks.

    async def domain_get_blkio_parameters(
        self, call: ClientCall, dom: DomainId, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the block I/O weight, and the weights and limits of devices."""
        self._errors.check_flags("DomainGetBlkioParameters", flags, IMPACT_FLAGS | TYPED_STRINGS)
        self._require_controller(dom, flags, "blkio cgroup isn't mounted")
        return await self._read_some(dom, nparams, flags, BLKIO, blkio_values)

    async def domain_set_blkio_parameters(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Set the block I/O weight.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID; SYSTEM_ERROR: the host has no such scheduler.
        """
        self._errors.check_flags("DomainSetBlkioParameters", flags, IMPACT_FLAGS)
        values = read_values(params, ("weight",))

        def edit(domain: Domain) -> None:
            tune = domain.blkiotune = domain.blkiotune or Blkiotune()
            tune.weight = values.get("weight", tune.weight)

        await self._change(dom, flags, edit)

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
        return await self._read_some(dom, nparams, flags, NUMA, numa_values)

    # Counters of the host's.

    def domain_get_perf_events(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> list[TypedParam]:
        """Return which performance events are counted, by their names."""
        self._errors.check_flags("DomainGetPerfEvents", flags, IMPACT_FLAGS | TYPED_STRINGS)
        domain = select_for_query(self._registry.find(dom), flags).domain
        enabled = {event.name for event in domain.perf if event.enabled}
        return typed({name: int(name in enabled) for name in PERF_EVENTS})

    # Each of them.

    def _require_controller(self, dom: DomainId, flags: int, detail: str) -> None:
        """Refuse to read the running guest's limits where guests are in no cgroup.

        Raises:
            VirError: NO_DOMAIN; OPERATION_INVALID: that, or as `select_for_query`.
        """
        domain = self._registry.find(dom)
        select_for_query(domain, flags)
        if domain.is_active and not flags & Impact.CONFIG and not self._has_cgroups:
            raise domain.errors.operation_invalid(detail)

    async def _read_some(
        self,
        dom: DomainId,
        nparams: int,
        flags: int,
        names: tuple[str, ...],
        of: Callable[[Domain], Values],
    ) -> tuple[list[TypedParam], int]:
        """Return the first parameters; for none, how many there are (virTypedParameter's way)."""
        if nparams == 0:
            select_for_query(self._registry.find(dom), flags)
            return [], len(names)
        parameters = (await self._read(dom, flags, names, of))[:nparams]
        return parameters, len(parameters)

    async def _read(
        self, dom: DomainId, flags: int, names: tuple[str, ...], of: Callable[[Domain], Values]
    ) -> list[TypedParam]:
        domain = self._registry.find(dom)
        definition = select_for_query(domain, flags)
        values = dict(of(definition.domain))
        is_live = domain.runtime is not None and definition is domain.runtime.live
        if is_live and self._has_cgroups:
            sampled = await self._workers.call_running(domain, GetTuning())
            by_field = {statistic.field: int(statistic.value) for statistic in sampled.statistics}
            values |= {name: by_field[name] for name in names if name in by_field}
        return shown({name: values[name] for name in names}, flags)

    async def _change(self, dom: DomainId, flags: int, edit: Edit) -> None:
        def live_request(live: Definition) -> SetTuning:
            domain = parse_domain(live.xml)  # a copy to edit
            edit(domain)
            return SetTuning(xml=format_domain(domain, live=True, secure=True))

        change = DomainChange(name="tuning", edit=edit, live_request=live_request)
        await self._changer.change_domain(dom, flags, change)


def read_values(params: list[TypedParam], names: tuple[str, ...]) -> dict[str, int]:
    """Read a client's typed parameters.

    Raises:
        VirError: INVALID_ARG: an unknown parameter, or one of the wrong type.
    """
    values_by_name = read_params(params, declared(*names))
    return {name: int(values[-1]) for name, values in values_by_name.items()}


def shown(values: Values, flags: int) -> list[TypedParam]:
    """Make typed parameters; a client whose flags do not say that it knows strings gets none."""
    strings = flags & TYPED_STRINGS
    return typed(
        {name: value for name, value in values.items() if strings or not isinstance(value, str)}
    )


def check_swap_limit(tune: Memtune, errors: ServiceErrors) -> None:
    """Refuse a swap_hard_limit below the hard_limit: the kernel does.

    Raises:
        VirError: INVALID_ARG.
    """
    hard, swap = tune.hard_limit, tune.swap_hard_limit
    if hard is not None and swap is not None and hard.amount > swap.amount:
        detail = "hard limit must be lower than swap hard limit"
        raise errors.invalid_arg(detail)
