"""One running guest: its state, its live document, its process and its monitor.

Owns: what is known of the guest, and its status document. May touch: the status file.
May not touch: the emulator, but for the link to its monitor.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from conf.domain import Domain, format_domain
from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID, DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.calls import encode_event
from supervisor.messages.worker import NO_EVENT, Changed, Description
from supervisor.pidfd import GuestProcess, Identity
from supervisor.workers.qemu.monitor import Monitor, QmpRefusal
from supervisor.workers.qemu.qmp import Message
from supervisor.workers.states import STARTING, Step, Trigger, follow
from supervisor.workers.status import Status, write_status
from supervisor.workers.unix import connect
from supervisor.workers.workplace import Workplace

EXIT_S: Final = 2.0  # between the end of the monitor and that of the process
EARLY: Final = 1000  # events
GREETING_S: Final = 30.0  # one round of waiting for a guest that hangs; then the next
RETRIES_S: Final = (0.05, 0.2, 1.0, 5.0, 15.0)

log = logging.getLogger(__name__)


class Guest:
    """A guest that has an emulator."""

    def __init__(
        self, workplace: Workplace, domain: Domain, status: Status, process: GuestProcess
    ) -> None:
        """Know a guest; `attach` or `relink` gives it its monitor."""
        self.workplace = workplace
        self.domain = domain
        self.status = status
        self.process = process
        self.early: deque[Message] = deque(maxlen=EARLY)  # before anybody takes events
        self.on_event: Callable[[Message], None] = self.early.append
        self.on_linked: Callable[[Monitor], Coroutine[Any, Any, None]] | None = None
        self.stop_cause = Trigger.STOPPED  # what explains the next time that it stands still
        self.resume_cause = Trigger.RESUMED
        self.balloon_kib = 0
        self.disk_errors: dict[str, bool] = {}  # by alias: whether for want of space
        self.agent_connected: bool | None = None
        self.agent_lock = asyncio.Lock()
        self.vcpu_threads: list[int] = []  # kernel's numbers, in the order of the processors
        self.facts: EmulatorFacts | None = None  # of its emulator, once a device has come or gone
        self.plugging = asyncio.Lock()  # one device at a time comes, changes or goes
        self.leaving: dict[str, asyncio.Event] = {}  # by alias: set when the device has gone
        self.ended = asyncio.Event()  # all of it is cleaned up
        self.live_xml = format_domain(domain, live=True, secure=True)
        self._monitor: Monitor | None = None
        self._relinking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    # Who it is.

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

    @property
    def folder(self) -> Path:
        """Its private folder."""
        return self.workplace.paths.domain_dir(self.status.id, self.name)

    def describe(self) -> Description:
        """What domd is told of it."""
        return Description(
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
        )

    # What happens to it.

    def follow(self, trigger: Trigger) -> Step | None:
        """Let something happen to it: its state is kept and told; None where it changes nothing."""
        step = follow(self.state, trigger)
        if step is None:
            log.debug("%s is %s: %s changes nothing", self.name, self.state.name, trigger.name)
            return None
        log.info("%s: %s leads from %s to %s", self.name, trigger, self.state.name, step.state.name)
        self.status.state, self.status.reason = step.state, step.reason
        self.save()
        self.tell(step.event, step.detail)
        return step

    def tell(self, event: int = NO_EVENT, detail: int = 0) -> None:
        """Tell domd how it stands, and clients of a step in its life."""
        changed = Changed(description=self.describe(), event=event, detail=detail)
        self.workplace.publish(changed)

    def emit(self, event_id: DomainEventID, *fields: object) -> None:
        """Tell clients that registered for an event of this kind."""
        name = f"domain_event_callback_{event_id.name.lower()}"
        payload = encode_event(name, *fields)
        self.workplace.relay("domain", event_id, self.uuid, payload)

    def rewrite(self) -> None:
        """Write the live document anew."""
        self.live_xml = format_domain(self.domain, live=True, secure=True)
        self.save()

    def document_changed(self) -> None:
        """Write the live document anew, and tell domd."""
        self.rewrite()
        self.tell()

    def save(self) -> None:
        """Keep what a successor must know; a disk that is full is logged and changes nothing."""
        try:
            write_status(self.workplace.paths.status(self.name), self.status, self.live_xml)
        except OSError as problem:
            log.error("the status of %s cannot be written: %s", self.name, problem)

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

    # Its monitor.

    @property
    def monitor(self) -> Monitor:
        """The link to the emulator.

        Raises:
            VirError: OPERATION_FAILED: there is none (yet).
        """
        if self._monitor is None:
            detail = (
                f"the emulator of '{self.name}' does not answer; "
                "its guest runs on and can be destroyed"
            )
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
        return self._monitor

    @property
    def is_linked(self) -> bool:
        """Whether there is a link to the emulator."""
        return self._monitor is not None

    def attach(self, end: socket.socket) -> Monitor:
        """Take a socket to the emulator; the monitor is used only after `linked`."""
        return Monitor(end, self.name, lambda message: self.on_event(message), self._lost)

    def linked(self, monitor: Monitor) -> None:
        """The emulator has greeted."""
        self._monitor = monitor

    def relink(self) -> asyncio.Task[None]:
        """Connect to the emulator as soon as it lets us, however long it takes."""
        if self._relinking is None or self._relinking.done():
            self._relinking = self.run(self._relink())
        return self._relinking

    async def _relink(self) -> None:
        attempt = 0
        while not self.process.exited:
            monitor: Monitor | None = None
            try:
                monitor = self.attach(await connect(Path(self.status.monitor)))
                await self._await_greeting(monitor)
                self.linked(monitor)
                if self.on_linked is not None:
                    await self.on_linked(monitor)
            except (OSError, TimeoutError, VirError) as problem:
                log.info("%s: its monitor is not there yet: %s", self.name, problem)
                if monitor is not None and self._monitor is not monitor:
                    monitor.close()
            if self._monitor is not None:
                return
            await asyncio.sleep(RETRIES_S[min(attempt, len(RETRIES_S) - 1)])
            attempt += 1

    async def _await_greeting(self, monitor: Monitor) -> None:
        """Wait for a guest that may hang, for as long as it has a process."""
        while True:
            try:
                await monitor.greet(GREETING_S)
            except QmpRefusal:
                return  # an earlier round's command was obeyed after all
            except VirError:
                if monitor.lost or self.process.exited:
                    raise
            else:
                return

    def _lost(self, why: str) -> None:
        """The emulator's monitor is gone; the emulator may be about to follow."""
        if self._monitor is None:
            return
        self._monitor = None
        self.run(self._after_loss(why))

    async def _after_loss(self, why: str) -> None:
        if await self.process.wait_exit(EXIT_S) or self.status.ending:
            return
        log.error("%s: %s; the guest runs on", self.name, why)
        self.emit(DomainEventID.CONTROL_ERROR, self.identity)
        self.relink()

    def take_events(self, taker: Callable[[Message], None]) -> None:
        """Take events from now on, those that came before first."""
        self.on_event = taker
        while self.early:
            taker(self.early.popleft())

    def unlink(self) -> None:
        """Let go of the monitor, and stop what was begun beside."""
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def close(self) -> None:
        """Let go of everything; what runs on is left running."""
        self.unlink()
        self.process.forget()


def new_status(domain: Domain, identifier: int, monitor: Path, autodestroy: str) -> Status:
    """The status of a guest that is about to be started."""
    return Status(
        name=domain.name,
        uuid=domain.uuid or "",
        id=identifier,
        state=STARTING.state,
        reason=STARTING.reason,
        started_at=time.time(),
        monitor=str(monitor),
        autodestroy=autodestroy,
    )


def started(status: Status, identity: Identity) -> None:
    """The emulator has a process."""
    status.pid, status.start, status.boot = identity.pid, identity.start, identity.boot
