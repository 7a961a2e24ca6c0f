"""A running QEMU domain: its state, live XML, process and monitor.

Owns: those, and the status XML. May touch: the status file.
May not touch: QEMU, but for the connection to its monitor.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from conf.domain import Domain
from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.change_lock import ChangeLock
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.device_filter import DeviceRule
from supervisor.runtime.pidfd import GuestProcess
from supervisor.workers.cgroups.hierarchies import layout
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.agent.connection import AgentConnection
from supervisor.workers.qemu.block.job_waits import JobWaits
from supervisor.workers.qemu.cgroup.guest_cgroup import GuestCgroup
from supervisor.workers.qemu.cgroup.placement import unique_name
from supervisor.workers.qemu.migration.watch import MigrationWatch
from supervisor.workers.qemu.perf_counters import PerfCounters
from supervisor.workers.qemu.qmp.monitor import Monitor, QmpError
from supervisor.workers.qemu.qmp.protocol import Message
from supervisor.workers.qemu.stats.last_replies import LastReplies
from supervisor.workers.running_guest import RunningGuest
from supervisor.workers.state_table import Trigger
from supervisor.workers.unix_sockets import connect

EXIT_S: Final = 2.0  # between the monitor's end of file and the process's exit
MAX_EARLY_EVENTS: Final = 1000  # events
GREETING_S: Final = 30.0  # one round of waiting for a QEMU that hangs; then the next
RETRIES_S: Final = (0.05, 0.2, 1.0, 5.0, 15.0)

log = logging.getLogger(__name__)


class Guest(RunningGuest):
    """A domain that has a QEMU process."""

    def __init__(
        self, context: WorkerContext, live: Domain | str, status: Status, process: GuestProcess
    ) -> None:
        super().__init__(context, live, status, process)
        # QEMU sends events from qmp_capabilities on, long before a start is finished.
        self.early_events: deque[Message] = deque(maxlen=MAX_EARLY_EVENTS)  # until `handle_events`
        self.on_event: Callable[[Message], None] = self.early_events.append
        self.on_reconnect: Callable[[Monitor], Coroutine[Any, Any, None]] | None = None
        self.stop_cause = Trigger.STOPPED  # of the next STOP, an event without a reason
        self.resume_cause = Trigger.RESUMED
        self.disk_errors: dict[str, bool] = {}  # by alias: whether for ENOSPC
        self.agent_lock = ChangeLock(self.name, context.driver.errors)
        self.agent_connection: AgentConnection | None = None  # of this command or the last
        self._event_waits: list[tuple[Collection[str], asyncio.Event]] = []
        self.cgroup = GuestCgroup(layout(), status.cgroup, context.config.cgroup_controllers)
        self.device_rules: frozenset[DeviceRule] | None = None  # what it may open; None: not asked
        self.perf = PerfCounters()
        self.sessions = 0  # consoles and channels that clients have open
        self.vcpu_threads: dict[int, int] = {}  # thread ids by vcpu; empty: to be queried
        self.emulator_facts: EmulatorFacts | None = None  # of its QEMU; probed at the first hotplug
        #: What the guest did with a request to release a device, by alias: whether it has.
        self.unplugged: dict[str, asyncio.Future[bool]] = {}
        self.replies = LastReplies(lambda: self.monitor)
        self.migration = MigrationWatch()
        self.job_abortable = True
        self.job_aborted = asyncio.Event()  # by a client: the job ends as soon as it can
        self.job_waits = JobWaits()
        self.tray_moved = asyncio.Event()  # set, and replaced, by DEVICE_TRAY_MOVED
        self._monitor: Monitor | None = None
        self._reconnecting: asyncio.Task[None] | None = None

    @property
    def domain_dir(self) -> Path:
        """Its private directory."""
        return self.context.paths.domain_dir(self.status.id, self.name)

    @property
    def machine(self) -> str:
        """Its name on the host, which no other guest has."""
        return unique_name(self.name, self.status.id, str(self.domain_dir))

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers of its cgroup that tuning needs."""
        return self.cgroup.controllers

    # Its monitor.

    @property
    def monitor(self) -> Monitor:
        """The connected monitor.

        Raises:
            VirError: OPERATION_FAILED: it is not connected (yet).
        """
        if self._monitor is None:
            detail = (
                f"the QEMU monitor of '{self.name}' is not connected; "
                "the guest runs on and can be destroyed"
            )
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
        return self._monitor

    @property
    def is_connected(self) -> bool:
        """Whether the monitor is connected."""
        return self._monitor is not None

    def open_monitor(self, end: socket.socket) -> Monitor:
        """Make a monitor of a connected socket; `set_monitor` follows QEMU's greeting."""
        monitor = Monitor(end, self.name, self._received_event, self._monitor_lost)
        monitor.before_bitmap = self._record_bitmap
        return monitor

    def _received_event(self, message: Message) -> None:
        self.migration.on_message(message)
        self.on_event(message)

    def _record_bitmap(self) -> None:
        """Record that QEMU is about to have a dirty bitmap: whoever needs to know asks it then."""
        if self.status.no_bitmaps:
            self.status.no_bitmaps = False
            self.save()

    def set_monitor(self, monitor: Monitor) -> None:
        """Use a monitor whose QEMU has greeted."""
        self._monitor = monitor

    def inherit_monitor(self, end: socket.socket, unread: bytes) -> Monitor:
        """Use a monitor that a predecessor has read until now; `start_reading` must follow."""
        handlers = self._received_event, self._monitor_lost
        self._monitor = Monitor(end, self.name, *handlers, unread=unread)
        self._monitor.before_bitmap = self._record_bitmap
        return self._monitor

    def reconnect(self) -> asyncio.Task[None]:
        """Connect to the monitor as soon as QEMU accepts, however long that takes."""
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
                log.info("%s: the monitor is not connected yet: %s", self.name, error)
                if monitor is not None and self._monitor is not monitor:
                    monitor.close()
            if self._monitor is not None:
                return
            await asyncio.sleep(RETRIES_S[min(attempt, len(RETRIES_S) - 1)])
            attempt += 1

    async def _wait_greeting(self, monitor: Monitor) -> None:
        """Wait for the greeting of a QEMU that may hang, for as long as it has a process."""
        while True:
            try:
                await monitor.greet(GREETING_S)
            except QmpError:
                return  # already negotiated: an earlier round's command was executed late
            except VirError:
                if monitor.lost_reason or self.process.exited:
                    raise
            else:
                return

    def _monitor_lost(self, reason: str) -> None:
        """Find out whether QEMU exits, too, or only its monitor is lost."""
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
        """Handle events from now on, and first those that came before."""
        self.on_event = handler
        while self.early_events:
            handler(self.early_events.popleft())

    @property
    def has_event_waits(self) -> bool:
        """Whether something waits for one of QEMU's events."""
        return bool(self._event_waits)

    @contextmanager
    def await_event(self, names: Collection[str]) -> Iterator[asyncio.Event]:
        """Make what is set by the next of QEMU's events that has one of the names."""
        wait = names, asyncio.Event()
        self._event_waits.append(wait)
        try:
            yield wait[1]
        finally:
            self._event_waits.remove(wait)

    def wake_waits(self, name: str) -> None:
        """Set what waits for an event of this name."""
        for names, happened in self._event_waits:
            if name in names:
                happened.set()

    def drop_agent_connection(self) -> None:
        """Close the connection to the agent, if there is one."""
        connection, self.agent_connection = self.agent_connection, None
        if connection is not None:
            connection.close()

    def close_monitor(self) -> None:
        """Close the monitor and cancel the domain's tasks."""
        self.stop_work()
        self.drop_agent_connection()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def close(self) -> None:
        """Release everything; QEMU runs on."""
        self.close_monitor()
        self.perf.close()
        self.process.unwatch()


class GuestProvider(Protocol):
    """The worker, as the classes of clients' calls need it."""

    def guest(self) -> Guest:
        """Return the running domain.

        Raises:
            VirError: OPERATION_INVALID: the domain is not running.
        """
