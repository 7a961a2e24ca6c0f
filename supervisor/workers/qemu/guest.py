"""One running guest: its state, its live document, its process and its monitor.

Owns: what is known of the guest, and its status document. May touch: the status file.
May not touch: the emulator, but for the link to its monitor.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Protocol

from conf.domain import Domain
from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.pidfd import GuestProcess
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.qmp.monitor import Monitor, QmpError
from supervisor.workers.qemu.qmp.protocol import Message
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.state_table import Trigger
from supervisor.workers.unix_sockets import connect

EXIT_S: Final = 2.0  # between the end of the monitor and that of the process
MAX_EARLY_EVENTS: Final = 1000  # events
GREETING_S: Final = 30.0  # one round of waiting for a guest that hangs; then the next
RETRIES_S: Final = (0.05, 0.2, 1.0, 5.0, 15.0)

log = logging.getLogger(__name__)


class Guest(RunningGuest):
    """A guest that has an emulator."""

    def __init__(
        self, context: WorkerContext, domain: Domain, status: Status, process: GuestProcess
    ) -> None:
        """Know a guest; `open_monitor` or `reconnect` gives it its monitor."""
        super().__init__(context, domain, status, process)
        self.early_events: deque[Message] = deque(
            maxlen=MAX_EARLY_EVENTS
        )  # before anybody takes events
        self.on_event: Callable[[Message], None] = self.early_events.append
        self.on_reconnect: Callable[[Monitor], Coroutine[Any, Any, None]] | None = None
        self.stop_cause = Trigger.STOPPED  # what explains the next time that it stands still
        self.resume_cause = Trigger.RESUMED
        self.disk_errors: dict[str, bool] = {}  # by alias: whether for want of space
        self.agent_connected: bool | None = None
        self.agent_lock = asyncio.Lock()
        self.vcpu_threads: list[int] = []  # kernel's numbers, in the order of the processors
        self.emulator_facts: EmulatorFacts | None = (
            None  # of its emulator, once a device has come or gone
        )
        self.unplugged: dict[str, asyncio.Event] = {}  # by alias: set when the device has gone
        self._monitor: Monitor | None = None
        self._reconnecting: asyncio.Task[None] | None = None

    @property
    def domain_dir(self) -> Path:
        """Its private folder."""
        return self.context.paths.domain_dir(self.status.id, self.name)

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
    def is_connected(self) -> bool:
        """Whether there is a link to the emulator."""
        return self._monitor is not None

    def open_monitor(self, end: socket.socket) -> Monitor:
        """Take a socket to the emulator; the monitor is used only after `set_monitor`."""
        return Monitor(end, self.name, lambda message: self.on_event(message), self._monitor_lost)

    def set_monitor(self, monitor: Monitor) -> None:
        """The emulator has greeted."""
        self._monitor = monitor

    def reconnect(self) -> asyncio.Task[None]:
        """Connect to the emulator as soon as it lets us, however long it takes."""
        if self._reconnecting is None or self._reconnecting.done():
            self._reconnecting = self.run(self._reconnect())
        return self._reconnecting

    async def _reconnect(self) -> None:
        attempt = 0
        while not self.process.exited:
            monitor: Monitor | None = None
            try:
                monitor = self.open_monitor(await connect(Path(self.status.monitor)))
                await self._wait_greeting(monitor)
                self.set_monitor(monitor)
                if self.on_reconnect is not None:
                    await self.on_reconnect(monitor)
            except (OSError, TimeoutError, VirError) as error:
                log.info("%s: its monitor is not there yet: %s", self.name, error)
                if monitor is not None and self._monitor is not monitor:
                    monitor.close()
            if self._monitor is not None:
                return
            await asyncio.sleep(RETRIES_S[min(attempt, len(RETRIES_S) - 1)])
            attempt += 1

    async def _wait_greeting(self, monitor: Monitor) -> None:
        """Wait for a guest that may hang, for as long as it has a process."""
        while True:
            try:
                await monitor.greet(GREETING_S)
            except QmpError:
                return  # an earlier round's command was obeyed after all
            except VirError:
                if monitor.lost_reason or self.process.exited:
                    raise
            else:
                return

    def _monitor_lost(self, reason: str) -> None:
        """The emulator's monitor is gone; the emulator may be about to follow."""
        if self._monitor is None:
            return
        self._monitor = None
        self.run(self._reconnect_or_exit(reason))

    async def _reconnect_or_exit(self, reason: str) -> None:
        if await self.process.wait_exit(EXIT_S) or self.status.ending:
            return
        log.error("%s: %s; the guest runs on", self.name, reason)
        self.publish_event(DomainEventID.CONTROL_ERROR, self.identity)
        self.reconnect()

    def handle_events(self, handler: Callable[[Message], None]) -> None:
        """Take events from now on, those that came before first."""
        self.on_event = handler
        while self.early_events:
            handler(self.early_events.popleft())

    def close_monitor(self) -> None:
        """Let go of the monitor, and stop what was begun beside."""
        self.stop_work()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def close(self) -> None:
        """Let go of everything; what runs on is left running."""
        self.close_monitor()
        self.process.unwatch()


class GuestProvider(Protocol):
    """The worker, as the classes of clients' calls need it."""

    def guest(self) -> Guest:
        """Return the running domain.

        Raises:
            VirError: OPERATION_INVALID: the domain is not running.
        """
