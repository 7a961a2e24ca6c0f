"""RunningDomains: starts and stops domains, and tracks what their workers report.

Owns: the runtime state and the phase of every domain.
May touch: workers, through `supervisor.domd.workers`. May not touch: definitions' files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from ipc import BusError, Descriptor, Request
from rpc.enums import DomainEventStartedDetailType
from rpc.errors import VirError
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.domd import fd_groups
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.domain import Definition, DomainObject, DomainRuntime, has_same_state
from supervisor.domd.domain_ids import IdAllocator
from supervisor.domd.guest_launcher import GuestFoundError, GuestLauncher, LaunchedGuest
from supervisor.domd.job_reports import JobReports
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.domd.start_events import StartEvents
from supervisor.domd.workers import Workers
from supervisor.messages.worker import (
    FRESH_BOOT,
    NO_EVENT,
    AttachDevice,
    Destroy,
    DomainStatus,
    DomainStopped,
    ForwardEvent,
    GetStatus,
    Start,
    StartSource,
    StatusChanged,
)
from supervisor.objects.domain_phase import DomainPhase, PhaseTrigger, start_trigger
from supervisor.objects.job import JobKind

OFF_S: Final = 10.0  # for the event of a guest that has been stopped

log = logging.getLogger(__name__)


@dataclass(slots=True)
class PendingStart:
    """A start under way."""

    task: asyncio.Task[LaunchedGuest]
    autodestroy: str  # the client whose disconnection cancels it
    #: Events that arrived before the start's reply was handled: they follow the start's own.
    early_events: list[StatusChanged | DomainStopped] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event)


class RunningDomains:
    """The running domains of one driver."""

    def __init__(
        self,
        registry: DomainRegistry,
        builder: DefinitionBuilder,
        workers: Workers,
        ids: IdAllocator,
        publisher: Publisher,
        keep_running: KeepRunningVote,
    ) -> None:
        self._registry = registry
        self._builder = builder
        self._workers = workers
        self._ids = ids
        self._publisher = publisher
        self.jobs = JobReports(registry, workers, publisher)
        self._start_events = StartEvents(publisher, workers.driver)
        self._keep_running = keep_running
        #: Called with a domain that entered the phase UNKNOWN: its worker is to be queried.
        self.on_unknown_state: Callable[[DomainObject], None] = lambda _: None
        #: Forgets what is kept of a transient domain that has ended.
        self.on_transient_gone: Callable[[DomainObject], Coroutine[Any, Any, None]] = _forget
        #: Has a domain's definition follow the changes of its disks (`DiskChanges.follow`).
        self.follow_disks: Callable[[DomainObject], Awaitable[None]] = _follow_nothing
        self._launcher = GuestLauncher(workers, publisher)
        self._starts: dict[bytes, PendingStart] = {}
        #: By UUID: what is being forgotten. The next guest with the UUID waits for it.
        self._leaving: dict[bytes, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        workers.subscribe(StatusChanged, self.on_status_changed)
        workers.subscribe(DomainStopped, self.on_domain_stopped)
        workers.subscribe(ForwardEvent, self.on_forward_event)

    # Start and stop.

    async def start(
        self,
        domain: DomainObject,
        definition: Definition,
        *,
        source: StartSource = FRESH_BOOT,
        paused: bool = False,
        autodestroy: str = "",
        files: Sequence[Descriptor] = (),
        detail: DomainEventStartedDetailType = DomainEventStartedDetailType.BOOTED,
    ) -> None:
        """Start a domain; the caller holds its change lock.

        Args:
            domain: the domain.
            definition: what it is started from.
            source: where the guest's state comes from.
            paused: the vCPUs stay stopped.
            autodestroy: the client whose disconnection destroys it.
            files: what a container's init inherits.
            detail: of the event STARTED.

        Raises:
            VirError: OPERATION_INVALID: it is active; whatever keeps it from starting. Nothing is
                left of the guest then.
        """
        if not domain.phases.step(start_trigger(source)):
            raise already_running(domain)
        try:
            if (leaving := self._leaving.get(domain.uuid)) is not None:
                await asyncio.wait({leaving})
            definition = await self._with_disk_changes(domain, definition)
            domain.source = await self._builder.complete(definition)
            if domain.definition is definition:
                domain.definition = domain.source
            request = Start(
                xml=domain.source.xml,
                id=self._ids.next(),
                source=source,
                paused=paused,
                autodestroy=autodestroy,
                agent_timeout=domain.agent_timeout,
                files=list(files),
                fd_groups=fd_groups.copies(domain, domain.source.xml),
            )
            await self._start(domain, request, detail)
        except BaseException as error:
            if domain.phases.step(PhaseTrigger.START_FAILED):
                domain.ended, domain.source = domain.source, None
            if isinstance(error, GuestFoundError):
                if self.apply_found(domain, error.status):
                    self.confirm(domain, error.status)
                raise already_running(domain) from error
            raise

    async def _with_disk_changes(self, domain: DomainObject, definition: Definition) -> Definition:
        """Return the definition to start from, once it has what the last guest did to its disks."""
        if not domain.disk_changes:
            return definition
        is_own, is_last = definition is domain.definition, definition is domain.source
        await self.follow_disks(domain)
        followed = domain.definition if is_own else domain.source if is_last else None
        return followed or definition

    async def _start(
        self, domain: DomainObject, request: Start, started: DomainEventStartedDetailType
    ) -> None:
        """Have the worker start the guest, record and publish that, then what followed it."""
        task = asyncio.create_task(self._launcher.launch(domain, request))
        pending = self._starts[domain.uuid] = PendingStart(task, request.autodestroy)
        cancelled = False
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:  # the client's call, not the start itself
            cancelled = True
            if not task.cancelling():
                task.cancel()
            await asyncio.wait({task})
        finally:
            del self._starts[domain.uuid]
            pending.finished.set()
        if task.cancelled() and not cancelled:
            detail = f"domain '{domain.name}' was destroyed while it was started"
            raise domain.errors.operation_failed(detail)
        launched = task.result()
        domain.phases.step(PhaseTrigger.STARTED)
        self.apply_status(domain, launched.status)
        log.info("%s is started with id %d", domain.name, domain.id)
        self._start_events.publish(domain, request, started)
        for event in pending.early_events:
            if isinstance(event, DomainStopped):
                self.on_domain_stopped(event)
            else:
                self.on_status_changed(event)
        if not launched.is_confirmed:
            self.worker_lost(domain)
        if cancelled:  # too late: the guest runs, and is recorded
            raise asyncio.CancelledError

    async def destroy(self, domain: DomainObject, *, graceful: bool) -> None:
        """Stop a guest now, or cancel its start; the domain is shut off on return.

        Raises:
            VirError: OPERATION_INVALID: it is not active; the worker's refusal.
        """
        pending = self._starts.get(domain.uuid)
        if pending is not None:
            if await self._cancel_start(domain, pending):
                return
        elif not domain.is_active:
            raise not_running(domain)
        domain.phases.step(PhaseTrigger.STOP)
        try:
            await self._workers.call_until_done(domain, Destroy(graceful=graceful))
        except BaseException:
            domain.phases.step(PhaseTrigger.STOP_FAILED)
            raise

    async def wait_off(self, domain: DomainObject) -> None:
        """Wait until a guest that has been stopped is recorded as off.

        Raises:
            VirError: OPERATION_TIMEOUT.
        """
        try:
            async with asyncio.timeout(OFF_S):
                await domain.phases.wait_not_in(set(DomainPhase) - {DomainPhase.SHUT_OFF})
        except TimeoutError as error:
            detail = f"domain '{domain.name}' has been stopped, and its worker does not say so"
            raise domain.errors.operation_timeout(detail) from error

    async def _cancel_start(self, domain: DomainObject, pending: PendingStart) -> bool:
        """Cancel a start and wait for its end.

        Returns:
            Whether it failed; if not, it had succeeded at the moment when it was cancelled.
        """
        if domain.phases.phase is not DomainPhase.STOPPING:
            # Once: a second cancellation would interrupt the undoing that the first began.
            domain.phases.step(PhaseTrigger.STOP)
            pending.task.cancel()
        await pending.finished.wait()
        return not domain.is_active

    async def run_change(self, domain: DomainObject, request: Request[DomainStatus]) -> None:
        """Have the worker change its guest, and record the status that it replies.

        Raises:
            VirError: as `Workers.call_running`.
        """
        if isinstance(request, AttachDevice):
            passed = fd_groups.copies(domain, request.xml)
            request = msgspec.structs.replace(request, fd_groups=passed)
        status = await self._workers.call_running(domain, request)
        if domain.is_active:
            self.apply_status(domain, status)

    # Runtime state.

    def apply_status(self, domain: DomainObject, status: DomainStatus) -> None:
        """Record the status that the worker reported, unless a newer one was recorded before."""
        if domain.runtime is not None and status.reported_ns < domain.runtime.status.reported_ns:
            return
        previous = domain.runtime
        runtime = DomainRuntime.from_status(status, previous)
        if runtime is None:
            log.error("%s is reported without its XML", domain.name)
            return
        same = previous is not None and has_same_state(previous.status, status)
        self._publisher.invalidate(settings=same)
        self._ids.seen(status.id)
        domain.runtime = runtime
        if runtime.is_outdated:  # the report with the newer XML is on its way, or was missed
            self.spawn_task(self._fetch_xml(domain))
        domain.autodestroy = status.autodestroy
        self.jobs.restore(domain, status.job, status.backup_end)
        if status.disk_changes:
            domain.disk_changes = list(status.disk_changes)
            self.spawn_task(self.follow(domain))
        self._registry.add(domain)
        self._keep_running.set(busy=True)

    async def follow(self, domain: DomainObject) -> None:
        """Have the definition follow the changes of the disks, when no other change is under way.

        Raises:
            VirError: SYSTEM_ERROR, OPERATION_TIMEOUT; it is tried again at the next report, and
                before the next start.
        """
        async with domain.jobs.hold("disk change", JobKind.QUERY):
            await self.follow_disks(domain)

    async def _fetch_xml(self, domain: DomainObject) -> None:
        try:
            reported = await self._workers.call_running(domain, GetStatus())
        except VirError as error:  # a lost worker is queried by recovery
            log.info("the XML of %s is not reported: %s", domain.name, error)
            return
        if reported.guest is not None and domain.is_active:
            self.apply_status(domain, reported.guest)

    def apply_found(self, domain: DomainObject, status: DomainStatus) -> bool:
        """Record a guest that a predecessor of this process left, unless the domain is in use.

        Returns:
            Whether it is recorded, and its worker is to confirm it.
        """
        if not domain.phases.step(PhaseTrigger.FOUND):
            return False
        self.apply_status(domain, status)
        return True

    def confirm(self, domain: DomainObject, status: DomainStatus) -> None:
        """Record that the worker drives the guest."""
        domain.phases.step(PhaseTrigger.CONFIRMED)
        self.apply_status(domain, status)

    def worker_lost(self, domain: DomainObject) -> None:
        """Have a domain's worker queried: the link to it broke, or it does not report the guest."""
        if domain.is_active:
            domain.phases.step(PhaseTrigger.WORKER_LOST)
            self.on_unknown_state(domain)

    def mark_stopped(self, domain: DomainObject, reason: int, event: int, detail: int) -> None:
        """Mark the domain shut off and publish the lifecycle event."""
        domain.phases.step(PhaseTrigger.STOPPED)
        self.jobs.end_with_guest(domain, reason)
        domain.ended = domain.runtime.live if domain.runtime is not None else domain.source
        domain.runtime = None
        domain.autodestroy = ""
        domain.reason = reason
        if not any(other.is_active for other in self._registry):
            self._keep_running.set(busy=False)
        self._publisher.lifecycle(domain, event, detail)

    def drop_if_transient(self, domain: DomainObject) -> None:
        """Remove a domain that is shut off and has no definition."""
        if not domain.is_listed and domain.phases.phase is DomainPhase.SHUT_OFF:
            self._registry.remove(domain)
            leaving = self.spawn_task(self.on_transient_gone(domain))
            self._leaving[domain.uuid] = leaving
            leaving.add_done_callback(lambda _: self._left(domain, leaving))
            self._publisher.invalidate()

    def _left(self, domain: DomainObject, leaving: asyncio.Task[None]) -> None:
        if self._leaving.get(domain.uuid) is leaving:
            del self._leaving[domain.uuid]

    # Workers' events.

    def on_status_changed(self, event: StatusChanged) -> None:
        """Record a guest's new status, and publish its lifecycle event."""
        domain = self._registry.by_uuid(event.status.uuid)
        if domain is None or not domain.worker:
            return
        pending = self._starts.get(domain.uuid)
        if pending is not None:
            pending.early_events.append(event)
            return
        if not domain.is_active:
            return
        self.apply_status(domain, event.status)
        if event.event != NO_EVENT:
            self._publisher.lifecycle(domain, event.event, event.detail)

    def on_domain_stopped(self, event: DomainStopped) -> None:
        """Mark a domain shut off, end its worker, and restart the domain where that is due."""
        domain = self._registry.by_uuid(event.uuid)
        if domain is None:
            return
        pending = self._starts.get(domain.uuid)
        if pending is not None:
            pending.early_events.append(event)
            return
        if domain.runtime is None:
            return
        if event.disk_changes:
            domain.disk_changes = list(event.disk_changes)
        definition = restart_definition(domain, renamed=event.rename)
        self.mark_stopped(domain, event.reason, event.event, event.detail)
        name, domain.worker = domain.worker, ""
        self.spawn_task(self._workers.end_named(name))
        if event.restart:
            self.spawn_task(self._restart(domain, definition))
        elif domain.disk_changes and domain.definition is not None:
            domain.source = None
            self.spawn_task(self.follow(domain))
        else:
            domain.source = None
            self.drop_if_transient(domain)

    def on_forward_event(self, event: ForwardEvent) -> None:
        """Publish a client event that a worker has encoded."""
        self._publisher.forward(event.event)

    async def _restart(self, domain: DomainObject, definition: Definition) -> None:
        """Start a domain whose on_reboot or on_crash says restart."""
        try:
            async with domain.jobs.hold("restart"):
                if not domain.is_active:
                    await self.start(domain, definition)
        except (VirError, BusError) as error:
            log.error("%s cannot be restarted: %s", domain.name, error)
        finally:
            self.drop_if_transient(domain)

    # Autodestroy.

    def client_closed(self, client: str) -> None:
        """End what was a client's: its groups of descriptors, the domains that it started so."""
        fd_groups.FdGroups(self._registry).client_closed(client)
        self._autodestroy(lambda owner: owner == client)

    def all_clients_closed(self) -> None:
        """End what was any client's: the process that served them has ended."""
        fd_groups.FdGroups(self._registry).client_closed("")
        self._autodestroy(bool)

    def _autodestroy(self, is_closed: Callable[[str], bool]) -> None:
        for domain in self._registry:
            pending = self._starts.get(domain.uuid)
            if is_closed(pending.autodestroy if pending is not None else domain.autodestroy):
                self.spawn_task(self.autodestroy(domain))

    async def autodestroy(self, domain: DomainObject) -> None:
        """Destroy a domain whose client has disconnected."""
        log.info("%s is destroyed: the client that started it has disconnected", domain.name)
        try:
            await self.destroy(domain, graceful=False)
        except VirError as error:
            log.error("%s cannot be destroyed after its client: %s", domain.name, error)

    def spawn_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine in the background; its failure is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background task of a domain failed", exc_info=error)


async def _forget(_: DomainObject) -> None:
    """Forget nothing."""


async def _follow_nothing(_: DomainObject) -> None:
    """Follow no changes: the driver's guests make none."""


def already_running(domain: DomainObject) -> VirError:
    """OPERATION_INVALID: the domain is active, starting or stopping."""
    return domain.errors.operation_invalid(
        f"domain is already running: '{domain.name}' has id {domain.id}"
    )


def restart_definition(domain: DomainObject, *, renamed: bool) -> Definition:
    """Select what a stopped domain is restarted from.

    Args:
        domain: the domain, still with its runtime state.
        renamed: it may have been renamed or redefined: the present definition counts.
    """
    if renamed and domain.definition is not None:
        return domain.definition
    if domain.source is not None:
        return domain.source
    assert domain.runtime is not None, "only a domain that ran is restarted"
    return domain.definition or Definition(domain.runtime.live.inactive_secure_xml)
