"""domd's calls that start, stop and steer guests.

Owns: one method per procedure, named as in the table; each takes the domain's job.
May touch: guests through `supervisor.domd.guests`. May not touch: files.
"""

from __future__ import annotations

import logging
from typing import Final

from ipc import Done, Request
from rpc.enums import (
    DomainCreateFlags,
    DomainDestroyFlagsValues,
    DomainEventResumedDetailType,
    DomainEventStartedDetailType,
    DomainEventSuspendedDetailType,
    DomainEventType,
    DomainState,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.calls import ClientCall
from supervisor.domd.changes import Changes
from supervisor.domd.documents import Documents
from supervisor.domd.entry import Entry
from supervisor.domd.events import Publisher
from supervisor.domd.guests import Guests
from supervisor.domd.registry import Registry
from supervisor.domd.words import refuse_flags
from supervisor.messages.worker import Reboot, Reset, Resume, Shutdown, Suspend, Wakeup

#: Flags that may be given; bypassing caches and forcing a boot matter only for saved guests.
CREATE_FLAGS: Final = (
    DomainCreateFlags.START_PAUSED
    | DomainCreateFlags.START_AUTODESTROY
    | DomainCreateFlags.START_BYPASS_CACHE
    | DomainCreateFlags.START_FORCE_BOOT
    | DomainCreateFlags.START_VALIDATE
)
DESTROY_FLAGS: Final = DomainDestroyFlagsValues.GRACEFUL
SHUTDOWN_FLAGS: Final = 0x1F
REBOOT_FLAGS: Final = 0x1F

log = logging.getLogger(__name__)


class Lifecycle:
    """What clients may do with guests."""

    def __init__(
        self,
        registry: Registry,
        documents: Documents,
        changes: Changes,
        guests: Guests,
        publisher: Publisher,
    ) -> None:
        """Steer these."""
        self._registry = registry
        self._documents = documents
        self._changes = changes
        self._guests = guests
        self._publisher = publisher

    async def domain_create(self, call: ClientCall, dom: DomainId) -> None:
        """Start a defined domain."""
        await self.domain_create_with_flags(call, dom, 0)

    async def domain_create_with_flags(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> DomainId:
        """Start a defined domain.

        Raises:
            VirError: OPERATION_INVALID when it runs already; whatever keeps it from starting.
        """
        refuse_flags("domainCreateWithFlags", flags, CREATE_FLAGS)
        entry = self._registry.find(dom)
        async with entry.job.hold("start"):
            await self._start(entry, call, flags)
        return entry.identity

    async def domain_create_xml(self, call: ClientCall, xml_desc: str, flags: int) -> DomainId:
        """Start a guest from a document; it is defined only if it was before.

        Raises:
            VirError: OPERATION_INVALID when it runs already; whatever keeps it from starting.
        """
        refuse_flags("domainCreateXML", flags, CREATE_FLAGS)
        definition = await self._documents.define(xml_desc)
        entry = self._changes.claim(definition)
        async with entry.job.hold("create"):
            entry = self._changes.claim(definition)
            if entry.is_active:
                detail = f"domain '{entry.name}' is already active with id {entry.id}"
                raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
            entry.transient = definition
            self._registry.add(entry)
            try:
                await self._start(entry, call, flags)
            except BaseException:
                entry.transient = None
                if entry.definition is None:
                    self._registry.remove(entry)
                self._publisher.stale()
                raise
        return entry.identity

    async def _start(self, entry: Entry, call: ClientCall, flags: int) -> None:
        paused = bool(flags & DomainCreateFlags.START_PAUSED)
        client = call.client.id if flags & DomainCreateFlags.START_AUTODESTROY else ""
        await self._guests.start(entry, paused=paused, autodestroy=client)
        log.info("%s is started with id %d", entry.name, entry.id)
        if not paused:
            unpaused = DomainEventResumedDetailType.UNPAUSED
            self._publisher.lifecycle(entry, DomainEventType.RESUMED, unpaused)
        booted = DomainEventStartedDetailType.BOOTED
        self._publisher.lifecycle(entry, DomainEventType.STARTED, booted)
        if paused:
            detail = DomainEventSuspendedDetailType.PAUSED
            self._publisher.lifecycle(entry, DomainEventType.SUSPENDED, detail)

    async def domain_destroy(self, call: ClientCall, dom: DomainId) -> None:
        """End a guest now."""
        await self.domain_destroy_flags(call, dom, 0)

    async def domain_destroy_flags(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """End a guest now, with SIGTERM alone for GRACEFUL.

        Raises:
            VirError: OPERATION_INVALID when it does not run.
        """
        refuse_flags("domainDestroyFlags", flags, DESTROY_FLAGS)
        entry = self._registry.find(dom)
        # No job: ending a guest is what helps when a job hangs.
        await self._guests.destroy(entry, graceful=bool(flags & DESTROY_FLAGS))

    async def domain_shutdown(self, call: ClientCall, dom: DomainId) -> None:
        """Ask a guest to power off."""
        await self.domain_shutdown_flags(call, dom, 0)

    async def domain_shutdown_flags(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Ask a guest to power off, in one of some ways."""
        refuse_flags("domainShutdownFlags", flags, SHUTDOWN_FLAGS)
        await self._order(dom, "shutdown", Shutdown(flags=flags))

    async def domain_reboot(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Ask a guest to reboot."""
        refuse_flags("domainReboot", flags, REBOOT_FLAGS)
        await self._order(dom, "reboot", Reboot(flags=flags))

    async def domain_reset(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Reset a guest's machine."""
        refuse_flags("domainReset", flags)
        await self._order(dom, "reset", Reset())

    async def domain_suspend(self, call: ClientCall, dom: DomainId) -> None:
        """Stop a guest's processors; one that is paused stays so."""
        entry = self._registry.find(dom)
        if entry.is_active and entry.state[0] == DomainState.PAUSED:
            return
        await self._order(dom, "suspend", Suspend())

    async def domain_resume(self, call: ClientCall, dom: DomainId) -> None:
        """Let a guest's processors run.

        Raises:
            VirError: OPERATION_INVALID when it sleeps by ACPI, or does not run.
        """
        entry = self._registry.find(dom)
        if entry.is_active and entry.state[0] == DomainState.PMSUSPENDED:
            detail = f"domain '{entry.name}' is pmsuspended; wake it up instead"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
        if entry.is_active and entry.state[0] == DomainState.RUNNING:
            return
        await self._order(dom, "resume", Resume())

    async def domain_pm_wakeup(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Wake a guest that sleeps by ACPI."""
        refuse_flags("domainPMWakeup", flags)
        await self._order(dom, "wakeup", Wakeup())

    async def _order(self, dom: DomainId, word: str, request: Request[Done]) -> None:
        entry = self._registry.find(dom)
        async with entry.job.hold(word):
            await self._guests.order(entry, request)
