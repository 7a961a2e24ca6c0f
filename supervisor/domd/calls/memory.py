"""virDomain calls about memory: how much a guest has, how much it may have, what it reports.

Owns: one method per procedure, named as in the table, for the QEMU driver.
May touch: definitions and running guests, through `change_domain`.
Source: libvirt 9.0, qemuDomainSetMemoryFlags, qemuDomainSetMemoryStatsPeriod; measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain import Domain
from conf.domain.tuning import BootMemory
from conf.types.size import Amount
from ipc import Request
from rpc.enums import DomainMemoryModFlags
from rpc.enums import DomainModificationImpact as Impact
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition
from supervisor.domd.registry import DomainRegistry
from supervisor.messages.worker import DomainStatus
from supervisor.messages.worker_resources import SetBalloon, SetBalloonPeriod
from supervisor.objects.impact import IMPACT_FLAGS

MAXIMUM: Final = int(DomainMemoryModFlags.MAXIMUM)
FIELDS: Final = ("boot_memory", "current_memory")  # that the edits change


class MemoryCalls:
    """The calls."""

    def __init__(self, registry: DomainRegistry, changer: DomainChanger) -> None:
        self._errors = registry.errors
        self._changer = changer

    async def domain_set_memory(self, call: ClientCall, dom: DomainId, memory: int) -> None:
        """Ask a running guest to use this much memory, in KiB."""
        await self.domain_set_memory_flags(call, dom, memory, Impact.LIVE)

    async def domain_set_max_memory(self, call: ClientCall, dom: DomainId, memory: int) -> None:
        """Set the memory that a guest boots with, in KiB."""
        await self.domain_set_memory_flags(call, dom, memory, MAXIMUM)

    async def domain_set_memory_flags(
        self, call: ClientCall, dom: DomainId, memory: int, flags: int
    ) -> None:
        """Set the current or the maximum memory, in KiB.

        The guest's balloon driver gives memory back in its own time; an event tells of it.

        Raises:
            VirError: INVALID_ARG: more than it may have; OPERATION_INVALID: the maximum of a
                running guest, or of one with NUMA cells; the worker's refusal.
        """
        self._errors.check_flags("DomainSetMemoryFlags", flags, IMPACT_FLAGS | MAXIMUM)
        if memory == 0:
            detail = "memory in virDomainSetMemoryFlags must not be zero"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN)
        if flags & MAXIMUM:
            await self._set_maximum(dom, memory, flags)
        else:
            await self._set_current(dom, memory, flags)

    async def _set_current(self, dom: DomainId, memory: int, flags: int) -> None:
        def check(live: Definition | None, config: Definition | None) -> None:
            for definition in (live, config):
                if definition is not None and memory > definition.resources.memory:
                    raise self._errors.invalid_arg("cannot set memory higher than max memory")

        def edit(domain: Domain) -> None:
            domain.current_memory = Amount(amount=memory)

        change = DomainChange(
            name="memory", edit=edit, live_request=lambda _: SetBalloon(kib=memory),
            revalidates=False, check=check, fields=FIELDS,
        )  # fmt: skip
        await self._changer.change_domain(dom, flags, change)

    async def _set_maximum(self, dom: DomainId, memory: int, flags: int) -> None:
        def check(live: Definition | None, config: Definition | None) -> None:
            if live is not None:
                detail = "cannot resize the maximum memory on an active domain"
                raise self._errors.operation_invalid(detail)
            assert config is not None, "a change concerns one of them"
            self._check_maximum(config.domain, memory)

        def edit(domain: Domain) -> None:
            boot = domain.boot_memory = domain.boot_memory or BootMemory()
            boot.amount, boot.unit = memory, "KiB"
            if domain.current_memory is not None:
                current = min(domain.current_memory.amount, memory)
                domain.current_memory = Amount(amount=current)

        change = DomainChange(
            name="memory", edit=edit, live_request=refused_live, revalidates=False, check=check,
            fields=FIELDS,
        )  # fmt: skip
        await self._changer.change_domain(dom, flags, change)

    def _check_maximum(self, domain: Domain, memory: int) -> None:
        if domain.cpu and domain.cpu.numa and domain.cpu.numa.cells:
            raise self._errors.operation_invalid(
                "initial memory size of a domain with NUMA nodes cannot be modified with this API"
            )
        if domain.max_memory is not None and memory > domain.max_memory.amount:
            raise self._errors.operation_invalid(
                "cannot set initial memory size greater than the maximum memory size"
            )

    async def domain_set_memory_stats_period(
        self, call: ClientCall, dom: DomainId, period: int, flags: int
    ) -> None:
        """Have the balloon driver report every `period` seconds; 0: no more.

        Raises:
            VirError: INVALID_ARG: a negative period; INTERNAL_ERROR: there is no balloon.
        """
        self._errors.check_flags("DomainSetMemoryStatsPeriod", flags, IMPACT_FLAGS)
        if period < 0:
            detail = "period in virDomainSetMemoryStatsPeriod must be zero or greater"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN)

        def check(live: Definition | None, config: Definition | None) -> None:
            for definition in (live, config):
                if definition is not None and not has_balloon(definition.domain):
                    detail = (
                        "No memory balloon device configured, can not set the collection period"
                    )
                    raise self._errors.error(ErrorCode.INTERNAL_ERROR, detail)

        def edit(domain: Domain) -> None:
            balloon = domain.devices.memballoon
            assert balloon is not None, "checked"
            balloon.stats_period = period or None

        change = DomainChange(
            name="memory statistics period", edit=edit, revalidates=False, check=check,
            live_request=lambda _: SetBalloonPeriod(seconds=period),
        )  # fmt: skip
        await self._changer.change_domain(dom, flags, change)


def has_balloon(domain: Domain) -> bool:
    """Return whether a domain has a balloon."""
    balloon = domain.devices.memballoon
    return balloon is not None and balloon.model != "none"


def refused_live(_: Definition) -> Request[DomainStatus]:
    """Make no request: the change was refused for a running guest."""
    raise AssertionError("a maximum is never set live")
