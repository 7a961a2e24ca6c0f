"""virDomain tuning calls of the cgroup's controllers: processor time, memory, block I/O.

Owns: one method per procedure, named as in the table. May touch: definitions; guests, through
their workers.
Source: libvirt 9.0, virDomainSetSchedulerParameters, virDomainSetMemoryParameters,
virDomainSetBlkioParameters and their kin.
"""

from __future__ import annotations

from typing import Final

from conf.domain import Domain
from conf.types.size import Amount
from rpc.enums import DomainMemoryModFlags
from rpc.enums import DomainModificationImpact as Impact
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.calls.tuning_access import TuningAccess, is_reported, read_any, read_values
from supervisor.domd.calls.tuning_values import (
    BLKIO,
    MEMORY,
    blkio_values,
    memory_values,
    scheduler_values,
)
from supervisor.drivers.driver import TYPED_STRINGS, Driver
from supervisor.objects.impact import IMPACT_FLAGS, select_for_change
from supervisor.objects.tuning_edits import (
    check_bandwidth,
    check_memory_limits,
    edit_blkio,
    edit_current_memory,
    edit_memory,
    edit_scheduler,
    scheduler_event,
)

MAXIMUM: Final = int(DomainMemoryModFlags.MAXIMUM)


class TuningCalls:
    """The tuning calls."""

    def __init__(self, access: TuningAccess, driver: Driver) -> None:
        self._access = access
        self._errors = access.errors
        self._scheduler = driver.scheduler_parameters
        self._keeps_unlimited = driver.keeps_unlimited_memory

    # Processor time.

    def domain_get_scheduler_type(self, call: ClientCall, dom: DomainId) -> tuple[str, int]:
        """Return the scheduler's name and its number of parameters.

        Raises:
            VirError: OPERATION_INVALID: the running guest is in no cgroup with a CPU controller;
                OPERATION_UNSUPPORTED: in session mode.
        """
        self._access.refuse_in_session("cpu")
        domain = self._access.registry.find(dom)
        self._access.require_controller(domain, "cpu")
        # Bindings ask before each change of a parameter, and that would outdate it.
        call.cacheable = call.of_state = is_reported(domain)
        return "posix", len(self._scheduler)

    async def domain_get_scheduler_parameters(
        self, call: ClientCall, dom: DomainId, nparams: int
    ) -> list[TypedParam]:
        """Return CPU shares and CFS bandwidth in force."""
        return await self.domain_get_scheduler_parameters_flags(call, dom, nparams, 0)

    async def domain_get_scheduler_parameters_flags(
        self, call: ClientCall, dom: DomainId, nparams: int, flags: int
    ) -> list[TypedParam]:
        """Return CPU shares and CFS bandwidth, live or of the definition.

        Raises:
            VirError: OPERATION_INVALID; OPERATION_UNSUPPORTED: in session mode.
        """
        self._errors.check_flags(
            "DomainGetSchedulerParametersFlags", flags, IMPACT_FLAGS | TYPED_STRINGS
        )
        self._access.refuse_in_session("cpu")
        parameters = await self._access.read(dom, flags, "cpu", self._scheduler, scheduler_values)
        return parameters[:nparams]

    async def domain_set_scheduler_parameters(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam]
    ) -> None:
        """Set CPU shares or CFS bandwidth, of the running guest if there is one."""
        await self.domain_set_scheduler_parameters_flags(call, dom, params, 0)

    async def domain_set_scheduler_parameters_flags(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Set CPU shares or CFS bandwidth.

        Raises:
            VirError: INVALID_ARG: out of range; OPERATION_INVALID; OPERATION_UNSUPPORTED: in
                session mode; SYSTEM_ERROR for what the kernel refuses.
        """
        self._errors.check_flags("DomainSetSchedulerParametersFlags", flags, IMPACT_FLAGS)
        values = read_values(params, self._scheduler)
        self._access.refuse_in_session("cpu")

        await self._access.change(
            dom,
            flags,
            lambda domain: edit_scheduler(domain, values, live=False),
            controller="cpu",
            values=values,
            check=lambda _: check_bandwidth(values, self._errors),
            tunable=scheduler_event(values),
        )

    # Memory.

    async def domain_get_memory_parameters(
        self, call: ClientCall, dom: DomainId, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the memory limits in KiB.

        Raises:
            VirError: OPERATION_INVALID; OPERATION_UNSUPPORTED: in session mode.
        """
        self._errors.check_flags("DomainGetMemoryParameters", flags, IMPACT_FLAGS | TYPED_STRINGS)
        self._access.refuse_in_session("memory")
        return await self._access.read_some(dom, nparams, flags, "memory", MEMORY, memory_values)

    async def domain_set_memory_parameters(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Set the memory limits.

        Raises:
            VirError: INVALID_ARG: swap below memory; OPERATION_INVALID; OPERATION_UNSUPPORTED: in
                session mode; SYSTEM_ERROR.
        """
        self._errors.check_flags("DomainSetMemoryParameters", flags, IMPACT_FLAGS)
        values = read_values(params, MEMORY)
        self._access.refuse_in_session("memory")

        def edit(domain: Domain) -> None:
            current = self._access.registry.find(dom).current.resources
            check_memory_limits(values, current, self._errors)
            edit_memory(domain, values, keeps_unlimited=self._keeps_unlimited)

        await self._access.change(
            dom,
            flags,
            edit,
            controller="memory",
            values=values,
        )

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
        self._access.errors.check_flags("DomainSetMemoryFlags", flags, IMPACT_FLAGS | MAXIMUM)
        if flags & MAXIMUM:
            await self._set_maximum(dom, memory, flags & ~MAXIMUM)
            return

        await self._access.change(
            dom,
            flags,
            lambda domain: edit_current_memory(domain, memory, self._errors),
            controller="",
            values={"current_memory": memory},
            revalidates=True,
        )

    async def _set_maximum(self, dom: DomainId, memory: int, flags: int) -> None:
        if select_for_change(self._access.registry.find(dom), flags)[0] is not None:
            detail = "Cannot resize the max memory on an active domain"
            raise self._access.errors.operation_invalid(detail)

        def edit(domain: Domain) -> None:
            assert domain.boot_memory is not None, "every definition has its memory"
            domain.boot_memory.amount, domain.boot_memory.unit = memory, "KiB"
            if domain.current_memory is not None:
                current = min(domain.current_memory.amount, memory)
                domain.current_memory = Amount(amount=current)

        await self._access.change(dom, flags, edit, controller="", values={}, revalidates=True)

    # Block I/O.

    async def domain_get_blkio_parameters(
        self, call: ClientCall, dom: DomainId, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the block I/O weight, and the weights and limits of devices.

        Raises:
            VirError: OPERATION_INVALID; OPERATION_UNSUPPORTED: in session mode.
        """
        self._errors.check_flags("DomainGetBlkioParameters", flags, IMPACT_FLAGS | TYPED_STRINGS)
        self._access.refuse_in_session("blkio")
        return await self._access.read_some(dom, nparams, flags, "blkio", BLKIO, blkio_values)

    async def domain_set_blkio_parameters(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Set the block I/O weight, and weights and limits of devices.

        Raises:
            VirError: INVALID_ARG; OPERATION_INVALID; OPERATION_UNSUPPORTED: in session mode;
                SYSTEM_ERROR: there is no such device, or the kernel refuses.
        """
        self._errors.check_flags("DomainSetBlkioParameters", flags, IMPACT_FLAGS)
        values = read_any(params, BLKIO)
        self._access.refuse_in_session("blkio")

        def edit(domain: Domain) -> None:
            edit_blkio(domain, values, self._errors)

        await self._access.change(dom, flags, edit, controller="blkio", values=values)
