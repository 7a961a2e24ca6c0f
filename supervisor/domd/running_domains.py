"""Running guests: starting and ending them, what their workers say, what clients are told.

Owns: what is known of running guests.
May touch: workers, through `supervisor.domd.workers`. May not touch: definitions' files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from ipc import BusError, PeerGone, Request
from rpc.enums import (
    DomainEventResumedDetailType,
    DomainEventStartedDetailType,
    DomainEventSuspendedDetailType,
    DomainEventType,
)
from rpc.errors import VirError
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.domain import Definition, DomainObject, DomainRuntime
from supervisor.domd.domain_ids import IdAllocator
from supervisor.domd.registry import Registry, not_running
from supervisor.domd.workers import Workers
from supervisor.messages.worker import (
    NO_EVENT,
    Destroy,
    DomainStatus,
    DomainStopped,
    ForwardEvent,
    Start,
    StatusChanged,
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Starting:
    """A start on its way."""

    task: asyncio.Task[DomainStatus] = field(init=False)
    ended: DomainStopped | None = None  # the guest's end, when it came before its start was told of
    doubtful: bool = False  # whether it still runs is not known


class RunningDomains:
    """Every running guest of this daemon."""

    def __init__(
        self,
        registry: Registry,
        builder: DefinitionBuilder,
        workers: Workers,
        ids: IdAllocator,
        publisher: Publisher,
        keep_running: KeepRunningVote,
    ) -> None:
        """Drive guests by these workers."""
        self._registry = registry
        self._builder = builder
        self._workers = workers
        self._ids = ids
        self._publisher = publisher
        self._keep_running = keep_running
        #: Called with a guest of which it is not known whether it still runs.
        self.on_unknown_state: Callable[[DomainObject], None] = lambda _: None
        self._starting: dict[bytes, Starting] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        workers.subscribe(StatusChanged, self.on_status_changed)
        workers.subscribe(DomainStopped, self.on_domain_stopped)
        workers.subscribe(ForwardEvent, self.on_forward_event)

    # Starting and ending.

    async def start(
        self,
        entry: DomainObject,
        definition: Definition,
        *,
        paused: bool = False,
        autodestroy: str = "",
    ) -> None:
        """Launch a domain's guest; the domain's job is the caller's.

        Raises:
            VirError: the guest runs already, or cannot be started; nothing is left of it then.
        """
        if entry.is_active:
            raise entry.errors.operation_invalid(
                f"domain is already running: '{entry.name}' has id {entry.id}"
            )
        complete = await self._builder.complete(definition)
        if entry.definition is definition:
            entry.definition = complete
        request = Start(
            xml=complete.xml, id=self._ids.next(), paused=paused, autodestroy=autodestroy
        )
        starting = Starting()
        task = starting.task = asyncio.create_task(self._launch(entry, request, starting))
        self._starting[entry.uuid] = starting
        try:
            description = await task
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            if caller_is_cancelled():
                raise
            detail = f"domain '{entry.name}' was destroyed while it was started"
            raise entry.errors.operation_failed(detail) from None
        finally:
            del self._starting[entry.uuid]
        self.apply_status(entry, description)
        entry.source = complete
        log.info("%s is started with id %d", entry.name, entry.id)
        self._publish_started(entry, paused=paused)
        if starting.ended is not None:
            self.on_domain_stopped(starting.ended)
        elif starting.doubtful:
            self.on_unknown_state(entry)

    async def _launch(
        self, entry: DomainObject, request: Start, starting: Starting
    ) -> DomainStatus:
        try:
            await self._workers.spawn(entry)
            description = await self._request_start(entry, request)
            if self._workers.driver.replaces_worker_after_start:
                starting.doubtful = not await self._replace_worker(entry)
            return description
        except BaseException:
            self._clear_runtime(entry)
            # It may have been spawned unseen.
            entry.worker = entry.worker or self._workers.driver.worker(entry.name)
            await self._abort_start(entry)
            raise

    async def _request_start(self, entry: DomainObject, request: Start) -> DomainStatus:
        """Have the guest started; a worker that dies then may have done it."""
        try:
            return await self._workers.call(entry, request)
        except PeerGone as error:
            log.warning("the worker of %s died while it started: %s", entry.name, error)
            found = await self._workers.get_status(entry)
            if found.guest is not None:  # none ran before; containers' numbers are their own
                return found.guest
            detail = f"the process that started '{entry.name}' died; try again ({error})"
            raise entry.errors.operation_failed(detail) from error

    async def _replace_worker(self, entry: DomainObject) -> bool:
        """Replace the worker that started a guest, before any client can know of the guest.

        Returns:
            Whether the new one has the guest.
        """
        try:
            found = await self._workers.replace(entry)
        except (BusError, VirError) as error:
            log.warning("the worker of %s does not come back yet: %s", entry.name, error)
            return False
        return found.guest is not None

    async def _abort_start(self, entry: DomainObject) -> None:
        """Let a start that failed be undone, then end its worker."""
        try:
            # The answer comes when the worker has undone what it began.
            found = await self._workers.get_status(entry)
            if found.guest is not None:  # it was given up when all was done
                await self._workers.call(entry, Destroy(graceful=False))
        except (BusError, VirError) as error:
            log.warning("the worker of %s does not settle: %s", entry.name, error)
        await self._workers.end(entry)

    def _publish_started(self, entry: DomainObject, *, paused: bool) -> None:
        """Tell clients, in the order that libvirt does."""
        started, booted = DomainEventType.STARTED, DomainEventStartedDetailType.BOOTED
        if paused:
            self._publisher.lifecycle(entry, started, booted)
            suspended = DomainEventSuspendedDetailType.PAUSED
            self._publisher.lifecycle(entry, DomainEventType.SUSPENDED, suspended)
        else:
            if self._workers.driver.publishes_resumed_on_start:
                unpaused = DomainEventResumedDetailType.UNPAUSED
                self._publisher.lifecycle(entry, DomainEventType.RESUMED, unpaused)
            self._publisher.lifecycle(entry, started, booted)

    async def destroy(self, entry: DomainObject, *, graceful: bool) -> None:
        """End a guest now; on return it is off. A start that is on its way is given up.

        Raises:
            VirError: OPERATION_INVALID when it does not run; the worker's refusal.
        """
        starting = self._starting.get(entry.uuid)
        if starting is not None and not entry.is_active:
            starting.task.cancel()
            await asyncio.wait({starting.task})
            return
        if not entry.is_active:
            raise not_running(entry)
        await self._workers.call_until_done(entry, Destroy(graceful=graceful))

    async def run_change(self, entry: DomainObject, request: Request[DomainStatus]) -> None:
        """Have a running guest changed, and believe what it is then.

        Raises:
            VirError: as `Workers.call_running`.
        """
        description = await self._workers.call_running(entry, request)
        if entry.is_active:
            self.apply_status(entry, description)

    # What is known.

    def apply_status(self, entry: DomainObject, description: DomainStatus) -> None:
        """Believe a description."""
        self._publisher.invalidate()
        self._ids.seen(description.id)
        entry.running = DomainRuntime.from_status(description, entry.running)
        entry.autodestroy = description.autodestroy
        self._registry.add(entry)
        self._keep_running.set(busy=True)

    def mark_stopped(self, entry: DomainObject, reason: int, event: int, detail: int) -> None:
        """Believe that a guest has gone, and tell clients."""
        self._clear_runtime(entry)
        entry.reason = reason
        self._publisher.lifecycle(entry, event, detail)

    def _clear_runtime(self, entry: DomainObject) -> None:
        self._publisher.invalidate()
        entry.running = None
        entry.autodestroy = ""
        if not any(other.is_active for other in self._registry):
            self._keep_running.set(busy=False)

    def drop_if_transient(self, entry: DomainObject) -> None:
        """Forget a domain that has neither a guest nor a definition."""
        if not entry.is_there and entry.uuid not in self._starting:
            self._registry.remove(entry)
            self._publisher.invalidate()

    # What workers say.

    def on_status_changed(self, event: StatusChanged) -> None:
        """A guest's state or document has changed."""
        entry = self._registry.by_uuid(event.status.uuid)
        if entry is None or not entry.worker:
            return
        self.apply_status(entry, event.status)
        if event.event != NO_EVENT:
            self._publisher.lifecycle(entry, event.event, event.detail)

    def on_domain_stopped(self, event: DomainStopped) -> None:
        """A guest has gone; its worker is let go, and what is to be started anew is."""
        entry = self._registry.by_uuid(event.uuid)
        if entry is None:
            return
        if entry.running is None:
            if entry.uuid in self._starting:
                self._starting[entry.uuid].ended = event
            return
        again = restart_definition(entry, renamed=event.rename)
        self.mark_stopped(entry, event.reason, event.event, event.detail)
        name, entry.worker = entry.worker, ""
        self.spawn_task(self._workers.end_named(name))
        if event.restart:
            self.spawn_task(self._restart(entry, again))
        else:
            entry.source = None
            self.drop_if_transient(entry)

    def on_forward_event(self, event: ForwardEvent) -> None:
        """A worker has an event for clients."""
        self._publisher.forward(event.event)

    async def _restart(self, entry: DomainObject, definition: Definition) -> None:
        """Start anew what its document says is to be."""
        try:
            async with entry.job.hold("restart"):
                if not entry.is_active:
                    await self.start(entry, definition)
        except (VirError, BusError) as error:
            log.error("%s was to be started anew and cannot be: %s", entry.name, error)
        finally:
            self.drop_if_transient(entry)

    # Guests that end with a client.

    def client_closed(self, client: str) -> None:
        """A client has gone: the guests that were to go with it do."""
        for entry in self._registry:
            if entry.autodestroy == client:
                self.spawn_task(self.autodestroy(entry))

    def all_clients_closed(self) -> None:
        """Every client has gone, for the process that served them has."""
        for entry in self._registry:
            if entry.autodestroy:
                self.spawn_task(self.autodestroy(entry))

    async def autodestroy(self, entry: DomainObject) -> None:
        """End a guest whose client has gone."""
        log.info("%s ends with the client that started it", entry.name)
        try:
            await self.destroy(entry, graceful=False)
        except VirError as error:
            log.error("%s does not end with its client: %s", entry.name, error)

    def spawn_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside; its failure is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("something after a guest's change failed", exc_info=problem)


def restart_definition(entry: DomainObject, *, renamed: bool) -> Definition:
    """What a running guest is started from when it is started anew."""
    if renamed and entry.definition is not None:
        return entry.definition
    if entry.source is not None:
        return entry.source
    assert entry.running is not None, "a guest that has gone is not started anew"
    return entry.definition or Definition(entry.running.live.inactive_secure_xml)


def caller_is_cancelled() -> bool:
    """Whether it is this task that is cancelled, and not one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
