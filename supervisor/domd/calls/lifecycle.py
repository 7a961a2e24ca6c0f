"""virDomain lifecycle calls: create, shutdown, reboot, reset, destroy, suspend, resume.

Owns: one method per procedure, named as in the table; each takes the domain's job.
May touch: guests through `supervisor.domd.running_domains`. May not touch: files.
"""

from __future__ import annotations

import asyncio

from conf.domain import Domain
from ipc import Ack, Request
from rpc.enums import DomainCreateFlags, DomainDestroyFlagsValues, DomainState
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.schema import require_valid
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.definitions import DomainDefinitions
from supervisor.domd.domain import DomainObject
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.domd.running_domains import RunningDomains, already_running
from supervisor.domd.starting import DomainStarter
from supervisor.domd.workers import Workers
from supervisor.messages.worker import Reboot, Reset, Resume, Shutdown, Suspend, Wakeup
from supervisor.objects.job import JobKind


class LifecycleCalls:
    """The lifecycle calls of one driver."""

    def __init__(
        self,
        registry: DomainRegistry,
        builder: DefinitionBuilder,
        definitions: DomainDefinitions,
        files: DomainFiles,
        domains: RunningDomains,
        workers: Workers,
        starter: DomainStarter,
    ) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._builder = builder
        self._definitions = definitions
        self._files = files
        self._domains = domains
        self._workers = workers
        self._starter = starter
        self._driver = workers.driver

    async def domain_create(self, call: ClientCall, dom: DomainId) -> None:
        """Start a defined domain."""
        await self.domain_create_with_flags(call, dom, 0)

    async def domain_create_with_flags(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> DomainId:
        """Start a defined domain, from its managed save image if it has one.

        Raises:
            VirError: OPERATION_INVALID when it runs already; OPERATION_FAILED: the image is none;
                whatever keeps it from starting.
        """
        self._driver.check_flags("DomainCreateWithFlags", flags)
        domain = self._registry.find(dom)
        async with domain.jobs.hold("start"):
            if domain.is_active or domain.definition is None:
                raise already_running(domain)
            if flags & DomainCreateFlags.START_RESET_NVRAM:
                await asyncio.to_thread(self._files.reset_nvram, domain, domain.definition)
            paused, autodestroy = start_options(call, flags)
            await self._starter.start(
                domain,
                domain.definition,
                paused=paused,
                autodestroy=autodestroy,
                force_boot=bool(flags & DomainCreateFlags.START_FORCE_BOOT),
                bypass_cache=bool(flags & DomainCreateFlags.START_BYPASS_CACHE),
            )
        return domain.identity

    async def domain_create_xml(self, call: ClientCall, xml_desc: str, flags: int) -> DomainId:
        """Start a domain from XML; it is persistent only if it was before.

        Raises:
            VirError: OPERATION_INVALID when it runs already; whatever keeps it from starting.
        """
        self._driver.check_flags("DomainCreateXML", flags)
        return await self._create_xml(call, xml_desc, flags)

    async def domain_create_xml_with_files(
        self, call: ClientCall, xml_desc: str, flags: int
    ) -> DomainId:
        """Start a container from XML whose init inherits the files that came with the call.

        Raises:
            VirError: as `domain_create_xml`.
        """
        self._driver.check_flags("DomainCreateXMLWithFiles", flags)
        return await self._create_xml(call, xml_desc, flags)

    async def domain_create_with_files(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> DomainId:
        """Start a defined container whose init inherits the files that came with the call.

        Raises:
            VirError: OPERATION_INVALID when it runs already; whatever keeps it from starting.
        """
        self._driver.check_flags("DomainCreateWithFiles", flags)
        domain = self._registry.find(dom)
        async with domain.jobs.hold("start"):
            if domain.is_active or domain.definition is None:
                raise already_running(domain)
            _, autodestroy = start_options(call, flags)
            await self._domains.start(
                domain, domain.definition, autodestroy=autodestroy, files=call.descriptors
            )
        return domain.identity

    async def _create_xml(self, call: ClientCall, xml_desc: str, flags: int) -> DomainId:
        validate = flags & DomainCreateFlags.START_VALIDATE
        await require_valid(xml_desc, "domain.rng", Domain, validate)
        definition = await self._builder.build(xml_desc)
        domain = await self._definitions.claim(definition)
        try:
            async with domain.jobs.hold("create"):
                if domain.is_active:
                    detail = f"domain '{domain.name}' is already active"
                    raise domain.object_type.conf_errors.operation_invalid(detail)
                paused, autodestroy = start_options(call, flags)
                await self._domains.start(
                    domain,
                    definition,
                    paused=paused,
                    autodestroy=autodestroy,
                    files=call.descriptors,
                )
        finally:
            self._domains.drop_if_transient(domain)
        return domain.identity

    async def domain_destroy(self, call: ClientCall, dom: DomainId) -> None:
        """Destroy a domain."""
        await self.domain_destroy_flags(call, dom, 0)

    async def domain_destroy_flags(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Destroy a domain; GRACEFUL sends SIGTERM alone, REMOVE_LOGS removes its logs then.

        Raises:
            VirError: OPERATION_INVALID when it does not run; SYSTEM_ERROR: it has been destroyed,
                and a log stays.
        """
        self._driver.check_flags("DomainDestroyFlags", flags)
        domain = self._registry.find(dom)
        # No change lock: a destroy is what helps when the call that holds it hangs.
        await self._domains.destroy(
            domain, graceful=bool(flags & DomainDestroyFlagsValues.GRACEFUL)
        )
        if flags & DomainDestroyFlagsValues.REMOVE_LOGS:
            await asyncio.to_thread(self._files.remove_logs, domain)

    async def domain_shutdown(self, call: ClientCall, dom: DomainId) -> None:
        """Shut a domain down."""
        await self.domain_shutdown_flags(call, dom, 0)

    async def domain_shutdown_flags(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Shut a domain down by ACPI or the guest agent, a container by its init."""
        self._driver.check_flags("DomainShutdownFlags", flags)
        await self._request(dom, "shutdown", Shutdown(flags=flags))

    async def domain_reboot(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Reboot a domain by ACPI or the guest agent, a container by its init."""
        self._driver.check_flags("DomainReboot", flags)
        await self._request(dom, "reboot", Reboot(flags=flags))

    async def domain_reset(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Reset a domain's machine, as its reset button does."""
        self._errors.check_flags("DomainReset", flags)
        await self._request(dom, "reset", Reset())

    async def domain_suspend(self, call: ClientCall, dom: DomainId) -> None:
        """Suspend a domain; a paused one stays paused.

        Raises:
            VirError: OPERATION_INVALID when it sleeps by ACPI, or does not run.
        """
        domain = self._registry.find(dom)
        async with domain.jobs.hold("suspend", JobKind.SUSPEND):
            refuse_sleeping(domain)
            if not domain.is_active or domain.state[0] != DomainState.PAUSED:
                await self._workers.call_running(domain, Suspend())

    async def domain_resume(self, call: ClientCall, dom: DomainId) -> None:
        """Resume a domain.

        Raises:
            VirError: OPERATION_INVALID when they do, when it sleeps by ACPI, or does not run.
        """
        domain = self._registry.find(dom)
        async with domain.jobs.hold("resume", JobKind.SUSPEND):
            refuse_sleeping(domain)
            if domain.is_active and domain.state[0] == DomainState.RUNNING:
                raise domain.errors.operation_invalid(f"domain is already running: '{domain.name}'")
            await self._workers.call_running(domain, Resume())

    async def domain_pm_wakeup(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Wake a domain up from ACPI sleep (pmsuspended)."""
        self._errors.check_flags("DomainPMWakeup", flags)
        await self._request(dom, "wakeup", Wakeup())

    async def _request(self, dom: DomainId, operation: str, request: Request[Ack]) -> None:
        domain = self._registry.find(dom)
        if not domain.is_active:
            raise not_running(domain)
        async with domain.jobs.hold(operation):
            await self._workers.call_running(domain, request)


def start_options(call: ClientCall, flags: int) -> tuple[bool, str]:
    """Return whether the domain is started paused, and the client that it is destroyed with."""
    autodestroy = call.client.id if flags & DomainCreateFlags.START_AUTODESTROY else ""
    return bool(flags & DomainCreateFlags.START_PAUSED), autodestroy


def refuse_sleeping(domain: DomainObject) -> None:
    """Refuse suspend and resume of a domain in ACPI sleep.

    Raises:
        VirError: OPERATION_INVALID.
    """
    if domain.is_active and domain.state[0] == DomainState.PMSUSPENDED:
        raise domain.errors.operation_invalid(
            f"domain is pmsuspended: wake '{domain.name}' up instead"
        )
