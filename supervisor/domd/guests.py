"""Running guests: their workers, what these say, and domains that come and go with them.

Owns: the link between a domain and its worker.
May touch: workers over the bus; the root, to have them spawned and ended.
May not touch: definitions' files.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Final

from ipc import BusError, DeadlineExceeded, Done, Link, Node, PeerGone, Request
from rpc.enums import DomainEventStoppedDetailType, DomainEventType, DomainShutoffReason
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.domd.entry import Entry, Running
from supervisor.domd.events import Publisher
from supervisor.domd.registry import Registry, not_running
from supervisor.messages.root import EndWorker, SpawnWorker
from supervisor.messages.worker import (
    NO_EVENT,
    Changed,
    Describe,
    Description,
    Destroy,
    Ended,
    Relay,
    Start,
)

DRIVER: Final = "qemu"
SPAWN_S: Final = 10.0
START_S: Final = 60.0
DESCRIBE_S: Final = 10.0
ORDER_S: Final = 15.0
DESTROY_S: Final = 20.0
REDESCRIBE_S: Final = 30.0  # for a worker that died to be up again

log = logging.getLogger(__name__)


class Guests:
    """Every running guest of this daemon."""

    def __init__(self, node: Node, registry: Registry, publisher: Publisher) -> None:
        """Drive guests over this bus."""
        self._node = node
        self._registry = registry
        self._publisher = publisher
        self._tasks: set[asyncio.Task[Any]] = set()
        node.on_peer_lost.append(self._peer_lost)

    async def start(self, entry: Entry, *, paused: bool = False, autodestroy: str = "") -> None:
        """Launch a domain's guest from its definition; the domain's job is the caller's.

        Raises:
            VirError: the guest runs already, or cannot be started; nothing is left of it then.
        """
        if entry.is_active:
            detail = f"domain is already running: '{entry.name}' has id {entry.id}"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
        definition = entry.definition or entry.transient
        assert definition is not None, "a domain that is off has a definition"
        entry.worker = await self.spawn(entry)
        request = Start(
            xml=definition.xml,
            id=self._registry.next_id(),
            paused=paused,
            autodestroy=autodestroy,
        )
        try:
            description = await self._link(entry).call(request, timeout_s=START_S)
        except BaseException:
            await self.dismiss(entry)
            raise
        self.describe(entry, description)
        entry.crashed, entry.updated = False, False

    async def spawn(self, entry: Entry) -> str:
        """Have a worker for the domain; one that is there already is it.

        Raises:
            VirError: it cannot be had.
        """
        request = SpawnWorker(driver=DRIVER, domain=entry.name, uuid=entry.uuid_text)
        spawned = await self._node.control.call(request, timeout_s=SPAWN_S)
        self._node.subscribe(spawned.name, Changed, self.changed)
        self._node.subscribe(spawned.name, Ended, self.ended)
        self._node.subscribe(spawned.name, Relay, self.relayed)
        return spawned.name

    async def dismiss(self, entry: Entry) -> None:
        """End a domain's worker for good."""
        name, entry.worker = entry.worker, ""
        if not name:
            return
        self._node.unlink(name)
        try:
            await self._node.control.call(EndWorker(name=name), timeout_s=SPAWN_S)
        except BusError as problem:
            log.warning("worker %s could not be ended: %s", name, problem)

    async def order(self, entry: Entry, request: Request[Done], timeout_s: float = ORDER_S) -> None:
        """Have a running guest's worker do something.

        Raises:
            VirError: OPERATION_INVALID when the guest does not run, or the worker's refusal;
                OPERATION_TIMEOUT when it does not answer.
        """
        if not entry.is_active:
            raise not_running(entry)
        try:
            await self._link(entry).call(request, timeout_s=timeout_s)
        except DeadlineExceeded as problem:
            detail = f"the guest '{entry.name}' did not obey in {timeout_s:.0f} s: {problem}"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU) from problem

    async def destroy(self, entry: Entry, *, graceful: bool) -> None:
        """End a guest now; on return it is off.

        Raises:
            VirError: as `order`.
        """
        try:
            await self.order(entry, Destroy(graceful=graceful), DESTROY_S)
        except PeerGone:
            # The worker told of the end and was dismissed before it could answer.
            if entry.is_active:
                raise

    async def recover(self, entry: Entry) -> None:
        """Take over a guest that ran before this process did.

        Raises:
            BusError: its worker does not come up.
        """
        entry.worker = await self.spawn(entry)
        described = await self._link(entry).call(Describe(), timeout_s=DESCRIBE_S)
        if described.guest is not None:
            self.describe(entry, described.guest)
            return
        if described.gone is not None:
            entry.reason = described.gone.reason
            stopped = DomainEventType.STOPPED
            self._publisher.lifecycle(entry, stopped, described.gone.detail)
        await self.dismiss(entry)

    def describe(self, entry: Entry, description: Description) -> None:
        """Believe a description."""
        self._publisher.stale()
        self._registry.seen_id(description.id)
        entry.running = Running.of(description, entry.running)
        entry.autodestroy = description.autodestroy
        if entry.definition is None:
            self._registry.add(entry)

    # What workers say.

    def changed(self, event: Changed) -> None:
        """A guest's state or document has changed."""
        entry = self._registry.by_uuid(event.description.uuid)
        if entry is None:
            return
        self.describe(entry, event.description)
        if event.event != NO_EVENT:
            self._publisher.lifecycle(entry, event.event, event.detail)

    def ended(self, event: Ended) -> None:
        """A guest has gone."""
        entry = self._registry.by_uuid(event.uuid)
        if entry is None or entry.running is None:
            return
        self._publisher.lifecycle(entry, event.event, event.detail)
        self._forget_guest(entry, event.reason)
        if entry.definition is None and not event.restart:
            self._registry.remove(entry)  # a transient domain goes with its guest
        self._spawn_task(self._clean_up(entry, event))

    def relayed(self, event: Relay) -> None:
        """A worker has an event for clients."""
        self._publisher.relay(event.event)

    async def _clean_up(self, entry: Entry, event: Ended) -> None:
        async with entry.job.hold("clean-up"):
            if entry.is_active:
                return
            await self.dismiss(entry)
            if event.restart and (entry.definition or entry.transient):
                await self._restart(entry)
        if not entry.is_active and entry.definition is None:
            self._registry.remove(entry)
            self._publisher.stale()

    async def _restart(self, entry: Entry) -> None:
        try:
            await self.start(entry)
        except (VirError, BusError) as problem:
            log.error("%s was to be started anew and cannot be: %s", entry.name, problem)
            return
        self._publisher.lifecycle(entry, DomainEventType.STARTED, 0)

    def _forget_guest(self, entry: Entry, reason: int) -> None:
        self._publisher.stale()
        entry.running = None
        entry.reason = reason
        entry.crashed = False
        entry.autodestroy = ""
        entry.updated = False

    def _peer_lost(self, name: str) -> None:
        """A worker's link broke: the root starts another, which adopts the guest."""
        for entry in self._registry:
            if entry.worker == name and entry.is_active:
                self._spawn_task(self._redescribe(entry))
            if name == "rpcd" and entry.autodestroy:
                self._spawn_task(self.autodestroy(entry))

    async def _redescribe(self, entry: Entry) -> None:
        began = time.monotonic()
        while entry.is_active and time.monotonic() - began < REDESCRIBE_S:
            try:
                described = await self._link(entry).call(Describe(), timeout_s=DESCRIBE_S)
            except BusError as problem:
                log.info("the worker of %s is not back yet: %s", entry.name, problem)
                await asyncio.sleep(0.05)
                continue
            if described.guest is not None:
                self.describe(entry, described.guest)
                return
            reason, detail = DomainShutoffReason.CRASHED, DomainEventStoppedDetailType.FAILED
            if described.gone is not None:
                reason = DomainShutoffReason(described.gone.reason)
                detail = DomainEventStoppedDetailType(described.gone.detail)
            self.ended(
                Ended(
                    uuid=entry.uuid,
                    name=entry.name,
                    reason=reason,
                    event=DomainEventType.STOPPED,
                    detail=detail,
                )
            )
            return

    def client_closed(self, client: str) -> None:
        """A client has gone: the guests that were to go with it do."""
        for entry in self._registry:
            if entry.autodestroy == client:
                self._spawn_task(self.autodestroy(entry))

    async def autodestroy(self, entry: Entry) -> None:
        """End a guest whose client has gone."""
        log.info("%s ends with the client that started it", entry.name)
        async with entry.job.hold("autodestroy"):
            if entry.is_active:
                await self.destroy(entry, graceful=False)

    def _link(self, entry: Entry) -> Link:
        return self._node.link(entry.worker)

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("something after a guest's change failed", exc_info=problem)
