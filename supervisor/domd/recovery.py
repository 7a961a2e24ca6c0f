"""Recovery: reconnects to guests that run already, and to guests whose worker died.

Owns: the queries of workers whose guest's state is unknown.
May touch: workers, through `supervisor.domd.workers`; status files, to read.
May not touch: guests; what a worker reports counts.

A guest is known from its status file at once and taken as running until its worker has replied:
a worker that hangs, or does not come up, delays neither this process nor any other guest. A guest
whose process has exited is not reported as running: the first calls wait until its worker has
cleaned up. One whose start was under way is off, as it was for clients before, until its worker
says that it runs; its change lock is held for so long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from ipc import BusError, DeadlineExceeded, Node, NoSuchService
from rpc.enums import DomainEventStoppedDetailType, DomainEventType, DomainShutoffReason
from rpc.errors import VirError
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.unheld_locks import remove_unheld_locks
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
from supervisor.objects.domain_phase import DomainPhase
from supervisor.objects.domain_status_xml import Status, read_all_status, shown_backup
from supervisor.runtime.paths import Paths
from supervisor.runtime.pidfd import ProcessIdentity

TOGETHER_S: Final = 0.8  # how long the first calls wait for all workers together
#: How long they wait for the workers of guests that have exited. A worker needs two seconds to come
#: up on a busy host, and runs the hooks of the stop.
EXITED_S: Final = 10.0
PAUSES_S: Final = (0.02, 0.05, 0.2, 1.0, 5.0)

#: What is assumed of a guest that ended without any worker to say why.
LOST: Final = ShutoffInfo(
    reason=DomainShutoffReason.UNKNOWN, detail=DomainEventStoppedDetailType.FAILED
)

#: What is assumed of a start that did not succeed, of which no worker knows more.
FAILED: Final = ShutoffInfo(
    reason=DomainShutoffReason.FAILED, detail=DomainEventStoppedDetailType.FAILED
)

log = logging.getLogger(__name__)


class Recovery:
    """Determines the state of guests that this process did not start, or lost contact with."""

    def __init__(
        self, node: Node, registry: DomainRegistry, workers: Workers, domains: RunningDomains
    ) -> None:
        self._node = node
        self._registry = registry
        self._workers = workers
        self._domains = domains
        self._queries: dict[bytes, asyncio.Task[None]] = {}
        node.on_peer_lost.append(self.worker_lost)
        domains.on_unknown_state = lambda domain: self._start_query(domain, spawn=False)

    async def recover(self, paths: Paths) -> None:
        """Reconnect to every guest that ran before this process did."""
        statuses = await asyncio.to_thread(read_statuses, paths.status_dir())
        await asyncio.to_thread(remove_unheld_locks, paths.status_dir())
        exited = set()
        for status, runs in statuses:
            domain = self._object_for(status)
            if domain is None:
                continue
            if not status.pid:
                self._track(domain, self._settle_start(domain))
            elif self._domains.apply_found(domain, status):
                self._start_query(domain, spawn=True)
                if not runs:
                    exited.add(self._queries[domain.uuid])
        if self._queries:
            await asyncio.wait(set(self._queries.values()), timeout=TOGETHER_S)
        if exited:
            await asyncio.wait(exited, timeout=EXITED_S)
        if self._queries:
            names = sorted(domain.name for domain in self._registry if self._is_pending(domain))
            log.warning("known from status files until their workers reply: %s", ", ".join(names))
        self._domains.spawn_task(self._end_idle_workers())

    def worker_lost(self, name: str) -> None:
        """Query a worker whose link broke: the root respawns it, and it reconnects to its guest."""
        for domain in self._registry:
            if domain.worker == name:
                self._domains.worker_lost(domain)

    def _object_for(self, status: DomainStatus) -> DomainObject | None:
        """Find the domain of a running guest; a transient one is created."""
        try:
            return self._registry.object_for(status.name, status.uuid)
        except VirError as error:
            log.error("the guest '%s' runs and is not managed: %s", status.name, error)
            return None

    def _is_pending(self, domain: DomainObject) -> bool:
        return domain.uuid in self._queries

    def _start_query(self, domain: DomainObject, *, spawn: bool) -> None:
        """Query a guest's worker in a task of its own, one per domain."""
        if not self._is_pending(domain):
            self._track(domain, self._query_worker(domain, spawn=spawn))

    def _track(self, domain: DomainObject, query: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(query)
        self._queries[domain.uuid] = task

        def done(task: asyncio.Task[None]) -> None:
            del self._queries[domain.uuid]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("the state of %s is not known", domain.name, exc_info=error)

        task.add_done_callback(done)

    async def _query_worker(self, domain: DomainObject, *, spawn: bool) -> None:
        """Query until the worker replies; the domain counts as active until then."""
        attempt = 0
        while domain.is_active:
            try:
                if spawn:
                    await self._workers.spawn(domain)
                    spawn = False
                reported = await self._workers.call(domain, GetStatus())
            except (BusError, VirError) as error:
                level = logging.ERROR if attempt == len(PAUSES_S) else logging.INFO
                log.log(level, "the worker of %s does not reply: %s", domain.name, error)
                spawn = spawn or isinstance(error, NoSuchService)
                await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
                attempt += 1
            else:
                self._apply(domain, reported)
                return

    async def _settle_start(self, domain: DomainObject) -> None:
        """Find out what became of a start that was under way when the previous domd ended.

        No client was told that it succeeded, and none is told that the guest runs before its worker
        does: a worker that died over the start, or with the root, has its successor undo it.
        """
        self._registry.add(domain)  # a transient one is listed once it runs
        async with domain.change_lock.hold("recovery of a start"):
            reported = await self._wait_start(domain)
            if reported.guest is None:
                domain.reason = (reported.shutoff or FAILED).reason
                await self._workers.end(domain)
            elif self._domains.apply_found(domain, reported.guest):
                self._domains.confirm(domain, reported.guest)
                if reported.guest.autodestroy:
                    self._domains.spawn_task(self._autodestroy_orphans())
        self._domains.drop_if_transient(domain)

    async def _wait_start(self, domain: DomainObject) -> WorkerStatus:
        """Wait until a domain's worker, or its successor, has no start under way."""
        attempt = 0
        while True:
            try:
                await self._workers.spawn(domain)
                return await self._workers.get_status(domain)
            except DeadlineExceeded as error:
                log.info("the worker of %s is still busy: %s", domain.name, error)
            except (BusError, VirError) as error:
                log.info("the worker of %s does not reply: %s", domain.name, error)
                await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
                attempt += 1

    def _apply(self, domain: DomainObject, reported: WorkerStatus) -> None:
        """Record what a worker has: its guest, or how the guest ended."""
        if not domain.is_active:
            return
        if reported.guest is not None:
            self._domains.confirm(domain, reported.guest)
            if reported.guest.autodestroy:
                # Only now is its client known: status files do not name it to this process.
                self._domains.spawn_task(self._autodestroy_orphans())
            return
        shutoff = reported.shutoff or LOST
        log.info("%s ended while no worker watched it (reason %d)", domain.name, shutoff.reason)
        self._domains.on_domain_stopped(
            DomainStopped(
                uuid=domain.uuid,
                name=domain.name,
                reason=shutoff.reason,
                event=DomainEventType.STOPPED,
                detail=shutoff.detail,
                restart=shutoff.restart,
                rename=shutoff.restart,
                disk_changes=list(shutoff.disk_changes),
            )
        )

    async def _end_idle_workers(self) -> None:
        """End workers without a guest: their start failed after the previous domd died."""
        try:
            listed = await self._node.control.call(ListProcesses())
        except BusError as error:
            log.warning("workers without a guest are not ended: %s", error)
            return
        in_use = {domain.worker for domain in self._registry if domain.worker}
        for process in listed.processes:
            name = process.name
            if name.startswith(self._workers.driver.worker("")) and name not in in_use:
                self._domains.spawn_task(self._end_idle_worker(name))

    async def _end_idle_worker(self, name: str) -> None:
        """End a worker, unless it has a guest, or its domain was started meanwhile."""
        reported = await self._workers.get_status_after_start(name)
        if any(domain.worker == name or self._is_used(domain, name) for domain in self._registry):
            return
        if reported.shutoff is not None:
            self._record_shutoff(name, reported.shutoff)
        if reported.guest is not None:
            domain = self._object_for(reported.guest)
            if domain is not None and self._domains.apply_found(domain, reported.guest):
                self._start_query(domain, spawn=True)
            return
        log.info("worker %s has no guest and is ended", name)
        await self._workers.end_named(name)

    def _is_used(self, domain: DomainObject, worker: str) -> bool:
        """Return whether a domain is being started by a worker that it may not know yet."""
        starting = domain.phases.phase is not DomainPhase.SHUT_OFF or self._is_pending(domain)
        return starting and self._workers.driver.worker(domain.name) == worker

    def _record_shutoff(self, worker: str, shutoff: ShutoffInfo) -> None:
        """Record why a domain is off whose guest ended between two lives of this process."""
        domain = self._registry.by_name(worker.partition(":")[2])
        if domain is not None and not domain.is_active and not domain.worker:
            domain.reason = shutoff.reason
            domain.disk_changes = list(shutoff.disk_changes)
            if domain.disk_changes:
                self._domains.spawn_task(self._domains.follow(domain))

    async def _autodestroy_orphans(self) -> None:
        """Destroy autodestroy domains whose client disconnected while this process was down."""
        owners = {domain.autodestroy for domain in self._registry if domain.autodestroy}
        if not owners:
            return
        try:
            reply = await self._node.link("rpcd").call(ListClients())
        except BusError as error:
            log.warning("domains whose client disconnected are not destroyed: %s", error)
            return
        for client in owners - set(reply.identifiers):
            self._domains.client_closed(client)


def read_statuses(folder: Path) -> list[tuple[DomainStatus, bool]]:
    """Read what the workers wrote of their running guests, and whether each may run still."""
    return [
        (domain_status(status, live_xml), may_run(status))
        for status, live_xml in read_all_status(folder)
    ]


def domain_status(status: Status, live_xml: str) -> DomainStatus:
    """Make what the worker would report from its status file."""
    return DomainStatus(
        uuid=UUID(status.uuid).bytes,
        name=status.name,
        id=status.id,
        pid=status.pid,
        state=status.state,
        reason=status.reason,
        live_xml=live_xml,
        started_at=status.started_at,
        autodestroy=status.autodestroy,
        job=status.job,
        disk_changes=list(status.disk_changes),
        has_block_jobs=bool(status.block_jobs),
        backup=shown_backup(status),
        backup_end=status.backup_end,
        original_cpu=status.original_cpu,
    )


def may_run(status: Status) -> bool:
    """Return whether a guest has not exited."""
    return ProcessIdentity(status.pid, status.start, status.boot).runs()
