"""Taking over guests that run already, and guests whose worker died.

Owns: which guests are being asked about.
May touch: workers, through `supervisor.domd.workers`; status documents, to read.
May not touch: guests themselves: a worker's word is what counts.

A guest is known from its status document at once and believed to run until its worker has been
asked: a worker that hangs, or does not come up, holds up neither this process nor any other guest.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from ipc import BusError, Node, NoSuchService
from rpc.enums import DomainEventStoppedDetailType, DomainEventType, DomainShutoffReason
from rpc.errors import VirError
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import Registry
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.status_files import read_remembered
from supervisor.domd.workers import Workers
from supervisor.messages.root import ListProcesses
from supervisor.messages.rpcd import ListClients
from supervisor.messages.worker import (
    DomainStatus,
    DomainStopped,
    GetStatus,
    ShutoffInfo,
    WorkerStatus,
)
from supervisor.runtime.paths import Paths

TOGETHER_S: Final = 0.8  # what the first calls wait for all workers together
PAUSES_S: Final = (0.02, 0.05, 0.2, 1.0, 5.0)

STOPPED: Final = DomainEventType.STOPPED
LOST: Final = ShutoffInfo(
    reason=DomainShutoffReason.UNKNOWN, detail=DomainEventStoppedDetailType.FAILED
)

log = logging.getLogger(__name__)


class Recovery:
    """Finds out what became of guests."""

    def __init__(
        self, node: Node, registry: Registry, workers: Workers, domains: RunningDomains
    ) -> None:
        """Ask these workers."""
        self._node = node
        self._registry = registry
        self._workers = workers
        self._domains = domains
        self._queries: dict[bytes, asyncio.Task[None]] = {}
        node.on_peer_lost.append(self.worker_lost)
        domains.on_unknown_state = lambda entry: self._start_query(entry, spawn=False)

    async def recover(self, paths: Paths) -> None:
        """Take over all guests that ran before this process did."""
        remembered = await asyncio.to_thread(read_remembered, paths.status_dir())
        for description in remembered:
            entry = self._object_for(description)
            if entry is not None:
                self._domains.apply_status(entry, description)
                self._start_query(entry, spawn=True)
        if self._queries:
            await asyncio.wait(set(self._queries.values()), timeout=TOGETHER_S)
        if self._queries:
            names = ", ".join(
                sorted(entry.name for entry in self._registry if self._is_pending(entry))
            )
            log.warning("known from their status documents until their workers answer: %s", names)
        self._domains.spawn_task(self._end_idle_workers())
        self._domains.spawn_task(self._autodestroy_orphans())

    def worker_lost(self, name: str) -> None:
        """A link broke: the root starts a worker anew, which takes its guest over."""
        for entry in self._registry:
            if entry.worker == name and entry.is_active:
                self._start_query(entry, spawn=False)

    def _object_for(self, description: DomainStatus) -> DomainObject | None:
        """The domain of a guest that runs; a transient one is made known."""
        try:
            known = self._registry.match_or_conflict(description.name, description.uuid)
        except VirError as error:
            log.error("the guest '%s' runs and is left alone: %s", description.name, error)
            return None
        return known or DomainObject(
            object_type=self._registry.object_type, name=description.name, uuid=description.uuid
        )

    def _is_pending(self, entry: DomainObject) -> bool:
        return entry.uuid in self._queries

    def _start_query(self, entry: DomainObject, *, spawn: bool) -> None:
        """Ask a guest's worker in a task of its own, one for each guest."""
        if self._is_pending(entry):
            return
        task = asyncio.create_task(self._query_worker(entry, spawn=spawn))
        self._queries[entry.uuid] = task

        def done(task: asyncio.Task[None]) -> None:
            del self._queries[entry.uuid]
            if not task.cancelled() and (problem := task.exception()) is not None:
                log.error("what became of %s is not known", entry.name, exc_info=problem)

        task.add_done_callback(done)

    async def _query_worker(self, entry: DomainObject, *, spawn: bool) -> None:
        """Ask until there is an answer; until then the guest is believed to run."""
        attempt = 0
        while entry.is_active:
            try:
                if spawn:
                    await self._workers.spawn(entry)
                    spawn = False
                described = await self._workers.call(entry, GetStatus())
            except (BusError, VirError) as error:
                level = logging.ERROR if attempt == len(PAUSES_S) else logging.INFO
                log.log(level, "the worker of %s does not answer: %s", entry.name, error)
                spawn = spawn or isinstance(error, NoSuchService)
                await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
                attempt += 1
            else:
                self._apply(entry, described)
                return

    def _apply(self, entry: DomainObject, described: WorkerStatus) -> None:
        if not entry.is_active:
            return
        if described.guest is not None:
            self._domains.apply_status(entry, described.guest)
            return
        gone = described.shutoff or LOST
        log.info("%s has ended while nobody looked (%d)", entry.name, gone.reason)
        self._domains.on_domain_stopped(
            DomainStopped(
                uuid=entry.uuid,
                name=entry.name,
                reason=gone.reason,
                event=STOPPED,
                detail=gone.detail,
                restart=gone.restart,
                rename=gone.restart,
            )
        )

    async def _end_idle_workers(self) -> None:
        """End workers that have no guest: their start was given up when our predecessor died."""
        try:
            found = await self._node.control.call(ListProcesses())
        except BusError as error:
            log.warning("workers without a guest are not looked for: %s", error)
            return
        ours = {entry.worker for entry in self._registry if entry.worker}
        for process in found.processes:
            name = process.name
            if name.startswith(self._workers.driver.worker("")) and name not in ours:
                await self._end_idle_worker(name)

    async def _end_idle_worker(self, name: str) -> None:
        """End a worker, unless it has a guest after all or has got one meanwhile."""
        link = self._node.link(name)
        try:
            described = await link.call(GetStatus())
        except (BusError, VirError) as error:
            log.info("worker %s does not answer: %s", name, error)
            described = WorkerStatus()
        if any(entry.worker == name for entry in self._registry):
            return
        if described.shutoff is not None:
            self._record_shutoff(name, described.shutoff)
        if described.guest is not None:
            entry = self._object_for(described.guest)
            if entry is not None and not entry.is_active:
                self._domains.apply_status(entry, described.guest)
                self._start_query(entry, spawn=True)
            return
        log.info("worker %s has no guest and is ended", name)
        await self._workers.end_named(name)

    def _record_shutoff(self, worker: str, gone: ShutoffInfo) -> None:
        """Know why a domain is off whose guest ended between our predecessor and us."""
        entry = self._registry.by_name(worker.partition(":")[2])
        if entry is not None and not entry.is_active and not entry.worker:
            entry.reason = gone.reason

    async def _autodestroy_orphans(self) -> None:
        """End guests whose client went while nobody listened."""
        bound = {entry.autodestroy for entry in self._registry if entry.autodestroy}
        if not bound:
            return
        try:
            answer = await self._node.link("rpcd").call(ListClients())
        except BusError as error:
            log.warning("guests whose client has gone are not looked for: %s", error)
            return
        for client in bound - set(answer.identifiers):
            self._domains.client_closed(client)
