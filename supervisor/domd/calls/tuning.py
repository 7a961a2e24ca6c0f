"""virDomain tuning calls: memory, CPU scheduler and block I/O parameters, most for containers.

Owns: one method per procedure, named as in the table; the order: the definition is planned first,
then the container changes, then the definition is kept. So what is refused changes nothing.
May touch: definitions; containers, through their workers.
Source: libvirt 9.0's lxc driver: virDomainSetMemoryParameters and its kin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.tuning import Blkiotune, Cputune, Memtune
from conf.types.size import Amount
from rpc.enums import DomainMemoryModFlags
from rpc.enums import DomainModificationImpact as Impact
from rpc.params import LLong, UInt, ULLong, declared, params, read_params
from rpc.values import Domain as DomainId
from rpc.values import TypedParam, TypedValue
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.workers import Workers
from supervisor.drivers.driver import TYPED_STRINGS, Driver
from supervisor.messages.worker import GetTuning, SetTuning
from supervisor.objects.impact import (
    IMPACT_FLAGS,
    check_single_impact,
    select_for_change,
    select_for_query,
)

MAXIMUM: Final = int(DomainMemoryModFlags.MAXIMUM)
UNLIMITED_KIB: Final = 9007199254740991
MEMORY: Final = ("hard_limit", "soft_limit", "swap_hard_limit")
BLKIO: Final = ("weight",)

Edit = Callable[[Domain], None]
Values = Mapping[str, int]


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
        self._require_cgroup(domain, live=domain.is_active)
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
        domain = self._registry.find(dom)
        check_single_impact(flags)
        self._require_cgroup(domain, live=domain.is_active and not flags & Impact.CONFIG)
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
        if nparams == 0:
            self._registry.find(dom)
            return [], len(MEMORY)
        parameters = (await self._read(dom, flags, MEMORY, memory_values))[:nparams]
        return parameters, len(parameters)

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
        """Return the block I/O weight."""
        self._errors.check_flags("DomainGetBlkioParameters", flags, IMPACT_FLAGS | TYPED_STRINGS)
        if nparams == 0:
            self._registry.find(dom)
            return [], len(BLKIO)
        parameters = (await self._read(dom, flags, BLKIO, blkio_values))[:nparams]
        return parameters, len(parameters)

    async def domain_set_blkio_parameters(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Set the block I/O weight.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID; SYSTEM_ERROR: the host has no such scheduler.
        """
        self._errors.check_flags("DomainSetBlkioParameters", flags, IMPACT_FLAGS)
        values = read_values(params, BLKIO)

        def edit(domain: Domain) -> None:
            tune = domain.blkiotune = domain.blkiotune or Blkiotune()
            tune.weight = values.get("weight", tune.weight)

        await self._change(dom, flags, edit)

    # Each of them.

    def _require_cgroup(self, domain: DomainObject, *, live: bool) -> None:
        if live and not self._has_cgroups:
            raise domain.errors.operation_invalid("cgroup CPU controller is not mounted")

    async def _read(
        self, dom: DomainId, flags: int, names: tuple[str, ...], of: Callable[[Domain], Values]
    ) -> list[TypedParam]:
        check_single_impact(flags)
        domain = self._registry.find(dom)
        definition = select_for_query(domain, flags)
        values = dict(of(definition.domain))
        if domain.runtime is not None and definition is domain.runtime.live:
            sampled = await self._workers.call_running(domain, GetTuning())
            by_field = {statistic.field: int(statistic.value) for statistic in sampled.statistics}
            values |= {name: by_field[name] for name in names if name in by_field}
        return params({name: typed_value(name, values[name]) for name in names})

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


def typed_value(name: str, value: int) -> TypedValue:
    """Make a value of the type that libvirt gives the parameter."""
    if name == "weight":
        return UInt(value)
    return LLong(value) if name.endswith("_quota") else ULLong(value)


def scheduler_values(domain: Domain) -> Values:
    """Return the <cputune> values; 0 where there is none."""
    tune = domain.cputune or Cputune()
    values = {
        "cpu_shares": tune.shares,
        "vcpu_period": tune.period,
        "vcpu_quota": tune.quota,
        "global_period": tune.global_period,
        "global_quota": tune.global_quota,
        "emulator_period": tune.emulator_period,
        "emulator_quota": tune.emulator_quota,
        "iothread_period": tune.iothread_period,
        "iothread_quota": tune.iothread_quota,
    }
    return {name: value or 0 for name, value in values.items()}


def memory_values(domain: Domain) -> Values:
    """Return the <memtune> values in KiB."""
    tune = domain.memtune or Memtune()
    limits = (tune.hard_limit, tune.soft_limit, tune.swap_hard_limit)
    amounts = (limit.amount if limit is not None else UNLIMITED_KIB for limit in limits)
    return dict(zip(MEMORY, amounts, strict=True))


def blkio_values(domain: Domain) -> Values:
    """Return the <blkiotune> weight; 0 where there is none."""
    return {"weight": (domain.blkiotune.weight or 0) if domain.blkiotune else 0}


def check_swap_limit(tune: Memtune, errors: ServiceErrors) -> None:
    """Refuse a swap_hard_limit below the hard_limit: the kernel does.

    Raises:
        VirError: INVALID_ARG.
    """
    hard, swap = tune.hard_limit, tune.swap_hard_limit
    if hard is not None and swap is not None and hard.amount > swap.amount:
        detail = "hard limit must be lower than swap hard limit"
        raise errors.invalid_arg(detail)
