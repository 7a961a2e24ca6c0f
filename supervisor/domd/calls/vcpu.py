"""virDomain calls about processors: how many a domain has, and which of them are enabled.

Owns: one method per procedure, named as in the table.
May touch: definitions and running guests, through `change_domain`; a guest's agent, through its
worker.
Source: libvirt 9.0, qemuDomainGetVcpusFlags, qemuDomainSetVcpusFlags, qemuDomainSetVcpu; measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conf.domain import Domain
from conf.domain.vcpu_states import (
    check_count,
    check_present,
    check_vcpus_to_set,
    set_vcpu_count,
    set_vcpu_maximum,
    set_vcpus,
)
from conf.errors import ConfError
from conf.types.cpuset import parse_cpuset
from ipc import Request
from rpc.enums import DomainModificationImpact as Impact
from rpc.enums import DomainVcpuFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.domd.workers import Workers
from supervisor.messages.worker import CountAgentVcpus, DomainStatus
from supervisor.messages.worker_resources import SetAgentVcpus, SetVcpuCount, SetVcpus
from supervisor.objects.impact import IMPACT_FLAGS, select_for_query, select_impact

QUERY_FLAGS: Final = (
    DomainVcpuFlags.LIVE | DomainVcpuFlags.CONFIG | DomainVcpuFlags.MAXIMUM | DomainVcpuFlags.GUEST
)
SET_FLAGS: Final = QUERY_FLAGS | DomainVcpuFlags.HOTPLUGGABLE
MAX_VCPU: Final = 4096  # the highest number in a map of a client's

LiveRequest = Callable[[Definition], Request[DomainStatus]]


class VcpuCalls:
    """The calls of one driver."""

    def __init__(self, registry: DomainRegistry, changer: DomainChanger, workers: Workers) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._changer = changer
        self._workers = workers

    # How many.

    async def domain_get_vcpus_flags(self, call: ClientCall, dom: DomainId, flags: int) -> int:
        """Return the number of vCPUs: current or maximum, live, in the definition or in the guest.

        Raises:
            VirError: OPERATION_INVALID for the live number of a domain that is off; INVALID_ARG
                for the guest's own view of one; the agent's errors.
        """
        self._errors.check_flags("DomainGetVcpusFlags", flags, QUERY_FLAGS)
        domain = self._registry.find(dom)
        definition = select_for_query(domain, flags & IMPACT_FLAGS).domain
        maximum = bool(flags & DomainVcpuFlags.MAXIMUM)
        if flags & DomainVcpuFlags.GUEST:
            if not domain.is_active:
                detail = (
                    "vCPU count provided by the guest agent can only be requested for live domains"
                )
                raise self._errors.invalid_arg(detail)
            vcpus = await self._workers.call_running(domain, CountAgentVcpus())
            return vcpus.maximum if maximum else vcpus.online
        call.cacheable = True
        return definition.maximum_vcpus if maximum else definition.current_vcpus

    async def domain_set_vcpus(self, call: ClientCall, dom: DomainId, nvcpus: int) -> None:
        """Plug or unplug vcpus of a running guest."""
        await self.domain_set_vcpus_flags(call, dom, nvcpus, Impact.LIVE)

    async def domain_set_vcpus_flags(
        self, call: ClientCall, dom: DomainId, nvcpus: int, flags: int
    ) -> None:
        """Set the number of vcpus: live, in the definition, its maximum, or those the guest uses.

        Raises:
            VirError: INVALID_ARG: more than there can be; OPERATION_INVALID: the domain is off;
                OPERATION_UNSUPPORTED: the maximum of a running guest; as the worker's
                `SetVcpuCount` and `SetAgentVcpus`.
        """
        self._errors.check_flags("DomainSetVcpusFlags", flags, SET_FLAGS)
        check_vcpu_flags(nvcpus, flags)
        if flags & DomainVcpuFlags.GUEST:
            domain = self._registry.find(dom)
            select_impact(domain, flags)
            if not domain.is_active:
                raise not_running(domain)
            await self._workers.call_running(domain, SetAgentVcpus(count=nvcpus))
        elif flags & DomainVcpuFlags.MAXIMUM:
            await self._set_maximum(dom, nvcpus, flags)
        else:
            await self._set_count(dom, nvcpus, flags)

    async def _set_maximum(self, dom: DomainId, maximum: int, flags: int) -> None:
        def check(live: Definition | None, _: Definition | None) -> None:
            if live is not None:
                detail = "maximum vcpu count of a live domain can't be modified"
                raise self._errors.operation_unsupported(detail)

        await self._change(
            dom, flags, check, lambda domain: set_vcpu_maximum(domain, maximum), unreachable
        )

    async def _set_count(self, dom: DomainId, count: int, flags: int) -> None:
        def check(live: Definition | None, config: Definition | None) -> None:
            # The worker checks a live change alone: its model is at hand, this one would be parsed.
            if live is not None and config is not None:
                check_count(live.domain, count, "live")
            if config is not None:
                check_count(config.domain, count, "persistent")

        hotpluggable = bool(flags & DomainVcpuFlags.HOTPLUGGABLE)
        await self._change(
            dom,
            flags,
            check,
            lambda domain: set_vcpu_count(domain, count, hotpluggable=hotpluggable),
            lambda _: SetVcpuCount(count=count),
        )

    # Which.

    async def domain_set_vcpu(
        self, call: ClientCall, dom: DomainId, cpumap: str, state: int, flags: int
    ) -> None:
        """Enable or disable the vcpus of a map such as "1-3,^2".

        Raises:
            VirError: INVALID_ARG: no such vcpu, or it cannot change; OPERATION_UNSUPPORTED: a live
                one cannot; as the worker's `SetVcpus`.
        """
        self._errors.check_flags("DomainSetVcpu", flags, IMPACT_FLAGS)
        numbers = read_vcpu_map(cpumap, state, self._errors.domain)
        if not numbers:
            raise self._errors.invalid_arg("no vcpus selected for modification")

        def check(live: Definition | None, config: Definition | None) -> None:
            if config is not None:
                check_present(config.domain, numbers, "persistent")
            if live is not None and config is not None:
                check_present(live.domain, numbers, "live")

        def edit(domain: Domain) -> None:
            check_vcpus_to_set(domain, numbers)
            set_vcpus(domain, numbers, enabled=bool(state))

        request = SetVcpus(numbers=sorted(numbers), enabled=bool(state))
        await self._change(dom, flags, check, edit, lambda _: request)

    async def _change(
        self,
        dom: DomainId,
        flags: int,
        check: Callable[[Definition | None, Definition | None], None],
        edit: Callable[[Domain], None],
        live_request: LiveRequest,
    ) -> None:
        def checked_edit(domain: Domain) -> None:
            try:
                edit(domain)
            except ConfError as error:
                raise from_conf_error(error, self._errors.domain) from error

        def checked(live: Definition | None, config: Definition | None) -> None:
            try:
                check(live, config)
            except ConfError as error:
                raise from_conf_error(error, self._errors.domain) from error

        change = DomainChange(
            name="vcpus", edit=checked_edit, live_request=live_request, revalidates=False,
            check=checked, fields=("vcpu", "vcpus"),
        )  # fmt: skip
        await self._changer.change_domain(dom, flags, change)


def unreachable(_: Definition) -> Request[DomainStatus]:
    """Make no request: the change was refused for a running guest."""
    raise AssertionError("a maximum is never set live")


def check_vcpu_flags(count: int, flags: int) -> None:
    """Refuse what libvirt's own library refuses before it calls a driver.

    Raises:
        VirError: INVALID_ARG.
    """
    detail = ""
    if flags & DomainVcpuFlags.GUEST and flags & DomainVcpuFlags.CONFIG:
        detail = (
            "Flags 'VIR_DOMAIN_VCPU_GUEST' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive"
        )
    elif flags & DomainVcpuFlags.MAXIMUM and not flags & DomainVcpuFlags.CONFIG:
        detail = "Flag 'VIR_DOMAIN_AFFECT_CONFIG' is required by flag 'VIR_DOMAIN_VCPU_MAXIMUM'"
    elif count == 0:
        detail = "nvcpus in virDomainSetVcpusFlags must not be zero"
    if detail:
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN)


def read_vcpu_map(cpumap: str, state: int, domain: ErrorDomain) -> frozenset[int]:
    """Read a client's map of vcpus and the state that they are to have.

    Raises:
        VirError: INVALID_ARG: the state is neither 0 nor 1, or the map cannot be read.
    """
    if state not in (0, 1):
        raise VirError(ErrorCode.INVALID_ARG, "unsupported state value", domain)
    detail = f"Failed to parse bitmap '{cpumap}'"
    try:
        numbers = parse_cpuset(cpumap)
    except ValueError as error:
        raise VirError(ErrorCode.INVALID_ARG, detail) from error
    if numbers and max(numbers) >= MAX_VCPU:
        raise VirError(ErrorCode.INVALID_ARG, detail)
    return numbers
