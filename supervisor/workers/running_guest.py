"""RunningGuest: the state, live XML and process of a guest, for every driver.

Owns: those, and the guest's status file. May touch: the status file. May not touch: the guest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Set
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from conf.domain import Domain, LiveDomainWriter, format_domain, parse_domain
from conf.domain.numatune import place
from conf.errors import ConfError
from rpc.enums import DomainEventID, DomainState
from rpc.errors import ErrorCode, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.events import encode_event
from supervisor.messages.worker import NO_EVENT, DomainStatus, StatusChanged
from supervisor.objects.domain_status_xml import Status, StatusWriter, shown_backup
from supervisor.objects.taints import Taint
from supervisor.runtime.pidfd import GuestProcess, ProcessIdentity
from supervisor.workers.audit.auditor import Auditor
from supervisor.workers.audit.resources import AUDITED
from supervisor.workers.context import WorkerContext
from supervisor.workers.state_table import STARTING, Transition, Trigger, transition

#: Events whose message is named without "callback".
SINGLE_MESSAGES: Final = (
    DomainEventID.BLOCK_THRESHOLD,
    DomainEventID.MEMORY_FAILURE,
    DomainEventID.MEMORY_DEVICE_SIZE_CHANGE,
)

log = logging.getLogger(__name__)


class RunningGuest:
    """A guest that has a process."""

    def __init__(
        self,
        context: WorkerContext,
        live: Domain | str,
        status: Status,
        process: GuestProcess,
    ) -> None:
        """Describe a guest.

        Args:
            context: the worker's context.
            live: its live definition; the XML that a previous worker wrote is parsed when it is
                first needed, because lxml takes memory that most workers never need again.
            status: its state, as the status file has it.
            process: QEMU, or the container's monitor.
        """
        self.context = context
        self._domain = live if isinstance(live, Domain) else None
        self._live_xml = live if isinstance(live, str) else None
        self._xml_version = time.monotonic_ns()
        self._writer: LiveDomainWriter | None = None  # of the model, once it has changed
        self.status = status
        self.process = process
        self.auditor = Auditor(context.audit)
        self.balloon_kib = 0
        self.device_lock = asyncio.Lock()  # one device is attached, updated or detached at a time
        #: Called when the model has been made of the XML: the worker has grown.
        self.on_parsed: Callable[[], None] = _nothing
        self.ended = asyncio.Event()  # its process has exited and is cleaned up
        self._tasks: set[asyncio.Task[Any]] = set()

    # Identity and state.

    @property
    def domain(self) -> Domain:
        """The model of its live XML.

        Raises:
            VirError: INTERNAL_ERROR: what a previous worker wrote cannot be parsed.
        """
        if self._domain is None:
            self.on_parsed()
            try:
                self._domain = parse_domain(self.live_xml)
            except ConfError as error:
                detail = f"cannot parse the live XML of '{self.name}': {error}"
                domain = self.context.driver.error_domain
                raise VirError(ErrorCode.INTERNAL_ERROR, detail, domain) from error
            place(self._domain, self.status.advised_nodes, self.status.advised_cpus)
        return self._domain

    @domain.setter
    def domain(self, changed: Domain) -> None:
        self._domain = changed

    @property
    def is_parsed(self) -> bool:
        """Whether there is a model of the live XML already."""
        return self._domain is not None

    @property
    def live_xml(self) -> str:
        """Its live XML with passwords, as it was when it was last formatted."""
        if self._live_xml is None:
            assert self._domain is not None, "a guest has a model or XML"
            self._live_xml = format_domain(self._domain, live=True, secure=True)
        return self._live_xml

    @live_xml.setter
    def live_xml(self, xml: str) -> None:
        self._live_xml = xml
        # A time of CLOCK_MONOTONIC: no other XML of this boot has it, of other workers neither.
        self._xml_version = time.monotonic_ns()

    @property
    def name(self) -> str:
        """Its domain's name."""
        return self.status.name

    @cached_property
    def _status_file(self) -> StatusWriter:
        return StatusWriter(self.context.paths.status(self.name))

    @cached_property
    def uuid(self) -> bytes:
        """Its domain's UUID."""
        return UUID(self.status.uuid).bytes

    @property
    def identity(self) -> DomainId:
        """Its domain as the protocol encodes it."""
        return DomainId(self.name, self.uuid, self.status.id)

    @property
    def state(self) -> DomainState:
        """VirDomainState."""
        return DomainState(self.status.state)

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers of its cgroup that tuning needs."""
        return ()

    def get_status(self, *, with_xml: bool = True) -> DomainStatus:
        """Make the status that domd is sent.

        Args:
            with_xml: a change of state alone does not need it, and it can have 100 KiB.
        """
        return DomainStatus(
            uuid=self.uuid,
            name=self.name,
            id=self.status.id,
            pid=self.status.pid,
            state=self.status.state,
            reason=self.status.reason,
            live_xml=self.live_xml if with_xml else "",
            xml_version=self._xml_version,
            started_at=self.status.started_at,
            balloon_kib=self.balloon_kib,
            autodestroy=self.status.autodestroy,
            job=self.status.job,
            controllers=self.controllers,
            taints=self.status.taints,
            deprecations=self.status.deprecations,
            disk_changes=list(self.status.disk_changes),
            has_block_jobs=bool(self.status.block_jobs),
            backup=shown_backup(self.status),
            backup_end=self.status.backup_end,
            original_cpu=self.status.original_cpu,
            reported_ns=time.monotonic_ns(),
        )

    # Changes.

    def transition(self, trigger: Trigger) -> Transition | None:
        """Change its state, write that to the status file and publish it.

        Returns:
            The step; None: the trigger changes nothing in the present state.
        """
        step = transition(self.state, trigger)
        if step is None:
            log.debug("%s is %s: %s is ignored", self.name, self.state.name, trigger.name)
            return None
        log.info("%s: %s: %s → %s", self.name, trigger.name, self.state.name, step.state.name)
        self.status.state, self.status.reason = step.state, step.reason
        # A worker that reconnects cannot ask QEMU why its vCPUs are stopped, only that they are.
        self.save()
        self.publish_status(step.event, step.detail)
        return step

    def publish_status(
        self, event: int = NO_EVENT, detail: int = 0, *, with_xml: bool = False
    ) -> None:
        """Publish its status to domd, and the lifecycle event that goes with it."""
        status = self.get_status(with_xml=with_xml)
        self.context.publish(StatusChanged(status=status, event=event, detail=detail))

    def publish_event(self, event_id: DomainEventID, *fields: object) -> None:
        """Publish an event to the clients that registered for it."""
        # The newest events have one message each; the others have a second, "callback" one.
        kind = "" if event_id in SINGLE_MESSAGES else "callback_"
        name = f"domain_event_{kind}{event_id.name.lower()}"
        payload = encode_event(name, *fields)
        self.context.forward_event("domain", event_id, self.uuid, payload)

    def taint(self, taint: Taint) -> None:
        """Record, once, that something was done to the guest that nobody can answer for."""
        if taint not in self.status.taints:
            log.warning("%s is tainted: %s", self.name, taint)
            self.status.taints = [*self.status.taints, taint]
            self.save()
            self.publish_status()

    def update_xml(self, changed: Set[str] | None = None) -> None:
        """Format the live XML from the changed model, and write the status file.

        Args:
            changed: the fields of `Domain` that alone have changed; None: any may have.
        """
        former, domain = self._live_xml or "", self.domain
        if self._writer is None or self._writer.domain is not domain:
            self._writer = LiveDomainWriter(domain)
        self.live_xml = self._writer.format(changed)
        if changed is None or not changed.isdisjoint(AUDITED):
            self.auditor.changed(former, domain)
        # A worker that reconnects cannot derive from QEMU what was plugged as which device.
        self.save()

    def update_and_publish(self, changed: Set[str] | None = None) -> None:
        """Format the live XML, write the status file, and publish the status with the XML.

        Args:
            changed: as in `update_xml`.
        """
        self.update_xml(changed)
        self.publish_status(with_xml=True)

    def save(self) -> None:
        """Write the status file; an error is logged: a full disk must not stop the guest."""
        try:
            self._status_file.write(self.status, self.live_xml)
        except OSError as error:
            log.error("the status of %s cannot be written: %s", self.name, error)

    # Background work.

    @property
    def has_tasks(self) -> bool:
        """Whether there is background work."""
        return bool(self._tasks)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine in the background until the guest is closed; its failure is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            expected = isinstance(error, VirError)
            level = logging.WARNING if expected else logging.ERROR
            trace = None if expected else error
            log.log(level, "%s: a background task failed: %s", self.name, error, exc_info=trace)

    def stop_work(self) -> None:
        """Cancel the background work."""
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    def close(self) -> None:
        """Release the guest, which runs on."""
        self.stop_work()
        self.process.unwatch()


def _nothing() -> None:
    """Do nothing."""


def new_status(domain: Domain, identifier: int, autodestroy: str, monitor: str = "") -> Status:
    """Make the status of a guest that is about to be started."""
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
    """Record the guest's process, by what tells it from a later process of the same number."""
    status.pid, status.start, status.boot = identity.pid, identity.start, identity.boot
