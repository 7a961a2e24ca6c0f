"""One running guest, whatever runs it: its state, its live document, its process.

Owns: what is known of the guest, and its status document. May touch: the status file.
May not touch: the guest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

from conf.domain import Domain, format_domain, parse_domain
from conf.errors import ConfError
from rpc.enums import DomainEventID, DomainState
from rpc.errors import ErrorCode, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.events import encode_event
from supervisor.messages.worker import NO_EVENT, DomainStatus, StatusChanged
from supervisor.objects.domain_status_xml import Status, write_status
from supervisor.runtime.pidfd import GuestProcess, ProcessIdentity
from supervisor.workers.context import WorkerContext
from supervisor.workers.state_table import STARTING, Transition, Trigger, transition

log = logging.getLogger(__name__)


class RunningGuest:
    """A guest that has a process."""

    def __init__(
        self,
        workplace: WorkerContext,
        document: Domain | str,
        status: Status,
        process: GuestProcess,
    ) -> None:
        """Know a guest.

        Args:
            workplace: what is around it.
            document: its live document; one that a predecessor wrote is read when it is needed,
                for reading it takes memory that most guests' workers never need again.
            status: what else is known of it.
            process: its own.
        """
        self.context = workplace
        self._domain = document if isinstance(document, Domain) else None
        self.live_xml = document if isinstance(document, str) else live_xml_text(document)
        self.status = status
        self.process = process
        self.balloon_kib = 0
        self.device_lock = asyncio.Lock()  # one device at a time comes, changes or goes
        self.ended = asyncio.Event()  # all of it is cleaned up
        self._tasks: set[asyncio.Task[Any]] = set()

    # Who it is.

    @property
    def domain(self) -> Domain:
        """Its live document's model.

        Raises:
            VirError: INTERNAL_ERROR: what a predecessor wrote cannot be read.
        """
        if self._domain is None:
            try:
                self._domain = parse_domain(self.live_xml)
            except ConfError as error:
                detail = f"the live document of '{self.name}' cannot be read: {error}"
                domain = self.context.driver.error_domain
                raise VirError(ErrorCode.INTERNAL_ERROR, detail, domain) from error
        return self._domain

    @domain.setter
    def domain(self, changed: Domain) -> None:
        self._domain = changed

    @property
    def name(self) -> str:
        """Its domain's name."""
        return self.status.name

    @property
    def uuid(self) -> bytes:
        """Its domain's UUID."""
        return UUID(self.status.uuid).bytes

    @property
    def identity(self) -> DomainId:
        """Its domain as clients name it."""
        return DomainId(self.name, self.uuid, self.status.id)

    @property
    def state(self) -> DomainState:
        """VirDomainState."""
        return DomainState(self.status.state)

    def get_status(self) -> DomainStatus:
        """What domd is told of it."""
        return DomainStatus(
            uuid=self.uuid,
            name=self.name,
            id=self.status.id,
            pid=self.status.pid,
            state=self.status.state,
            reason=self.status.reason,
            live_xml=self.live_xml,
            started_at=self.status.started_at,
            balloon_kib=self.balloon_kib,
            autodestroy=self.status.autodestroy,
            job=self.status.job,
            reported_ns=time.monotonic_ns(),
        )

    # What happens to it.

    def transition(self, trigger: Trigger) -> Transition | None:
        """Let something happen to it: its state is kept and told; None where it changes nothing."""
        step = transition(self.state, trigger)
        if step is None:
            log.debug("%s is %s: %s changes nothing", self.name, self.state.name, trigger.name)
            return None
        log.info("%s: %s leads from %s to %s", self.name, trigger, self.state.name, step.state.name)
        self.status.state, self.status.reason = step.state, step.reason
        self.save()
        self.publish_status(step.event, step.detail)
        return step

    def publish_status(self, event: int = NO_EVENT, detail: int = 0) -> None:
        """Tell domd how it stands, and clients of a step in its life."""
        changed = StatusChanged(status=self.get_status(), event=event, detail=detail)
        self.context.publish(changed)

    def publish_event(self, event_id: DomainEventID, *fields: object) -> None:
        """Tell clients that registered for an event of this kind."""
        name = f"domain_event_callback_{event_id.name.lower()}"
        payload = encode_event(name, *fields)
        self.context.forward_event("domain", event_id, self.uuid, payload)

    def update_xml(self) -> None:
        """Write the live document anew."""
        self.live_xml = live_xml_text(self.domain)
        self.save()

    def update_and_publish(self) -> None:
        """Write the live document anew, and tell domd."""
        self.update_xml()
        self.publish_status()

    def save(self) -> None:
        """Keep what a successor must know; a disk that is full is logged and changes nothing."""
        try:
            write_status(self.context.paths.status(self.name), self.status, self.live_xml)
        except OSError as error:
            log.error("the status of %s cannot be written: %s", self.name, error)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something for the guest beside what it is doing; errors are logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            expected = isinstance(problem, VirError)
            level = logging.WARNING if expected else logging.ERROR
            trace = None if expected else problem
            log.log(level, "%s: what was begun failed: %s", self.name, problem, exc_info=trace)

    def stop_work(self) -> None:
        """Stop what was begun beside."""
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    def close(self) -> None:
        """Let go of everything; what runs on is left running."""
        self.stop_work()
        self.process.unwatch()


def live_xml_text(domain: Domain) -> str:
    """A live document as it is kept: with everything, passwords too."""
    return format_domain(domain, live=True, secure=True)


def new_status(domain: Domain, identifier: int, autodestroy: str, monitor: str = "") -> Status:
    """The status of a guest that is about to be started."""
    return Status(
        name=domain.name,
        uuid=domain.uuid or "",
        id=identifier,
        state=STARTING.state,
        reason=STARTING.reason,
        started_at=time.time(),
        monitor=monitor,
        autodestroy=autodestroy,
    )


def record_process(status: Status, identity: ProcessIdentity) -> None:
    """The emulator has a process."""
    status.pid, status.start, status.boot = identity.pid, identity.start, identity.boot
