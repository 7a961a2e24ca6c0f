"""The process tree: spawning, watching, restarting, stopping.

Owns: every child, its state and its restarts.
May touch: processes it has spawned. May not touch: client sockets, guests, what services do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conf.settings import DaemonConfig, QemuConfig
from ipc import BusError, Switchboard
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.dispatcher import VirErrorCodec
from supervisor.messages.child import Reload, Stop
from supervisor.messages.root import ProcessStatus
from supervisor.root import process_stats
from supervisor.root.child import Child, State
from supervisor.root.roles import PRELOAD, SERVICES, WORKERS, Role
from supervisor.root.zygote_client import Forks
from supervisor.runtime.log import Collector

STOP_S: Final = 5.0  # for an orderly end; then comes SIGKILL
WAITS_TO_START: Final = (State.RESTARTING, State.DEGRADED)
SETTLED: Final = (*WAITS_TO_START, State.RUNNING, State.STOPPED)
RENEW_S: Final = 10.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Setting:
    """What every process of this daemon is given."""

    root: str
    session: bool
    config: DaemonConfig
    qemu_config: QemuConfig
    sockets: dict[str, socket.socket]
    #: where a guest's process number is, by its driver and name
    pid_file: Callable[[str, str], Path] = Path
    services: tuple[Role, ...] = SERVICES
    workers: Mapping[str, Role] = field(default_factory=lambda: WORKERS)
    preload: tuple[str, ...] = PRELOAD


class Tree:
    """All processes of one daemon."""

    def __init__(self, setting: Setting, collector: Collector) -> None:
        """Fork the zygote; nothing else runs yet. Call it before an event loop does."""
        self.setting = setting
        self.busy: set[str] = set()  # processes with work that keeps the daemon up
        self.on_change: list[Callable[[], None]] = []  # called when `busy` or a state changes
        self._children: dict[str, Child] = {}
        self._by_ticket: dict[int, Child] = {}
        self._stopping = False
        self._forks = Forks(collector, setting.preload)
        self._loop: asyncio.AbstractEventLoop
        self._switchboard: Switchboard

    def start(self, requests: Callable[[Tree], object]) -> None:
        """Spawn every service; what they ask is answered by `requests`.

        Call it with the event loop running.
        """
        self._loop = asyncio.get_running_loop()
        self._switchboard = Switchboard(VirErrorCodec())
        self._switchboard.expects = self._expected
        self._switchboard.serve(requests(self))
        self._forks.start(self)
        for role in self.setting.services:
            self._children[role.name] = Child(role, role.name)
            self._spawn(self._children[role.name])

    async def ready(self, timeout_s: float) -> bool:
        """Wait until every service runs; whether all of them do."""
        return await self._until(self._all_run, timeout_s)

    def reload(self, config: DaemonConfig, qemu_config: QemuConfig) -> None:
        """Hand new settings to every process."""
        self.setting.config, self.setting.qemu_config = config, qemu_config
        for child in self._children.values():
            if child.peer is not None:
                with contextlib.suppress(BusError):  # a lost peer gets them when it begins again
                    child.peer.send(Reload(config=config, qemu_config=qemu_config))

    async def stop(self) -> None:
        """End every process, in order where it can; guests stay."""
        self._stopping = True
        for child in list(self._children.values()):
            self._tell_to_stop(child, "the daemon stops")
        if not await self._until(lambda: not self._by_ticket, STOP_S):
            for ticket, child in self._by_ticket.items():
                log.warning("%s did not end in %.0f s and is killed", child.name, STOP_S)
                self._forks.kill(ticket)
        await self._forks.stop()

    def workers(self) -> int:
        """How many guests have a worker."""
        return sum(child.is_worker for child in self._children.values())

    def status(self) -> list[ProcessStatus]:
        """The tree, the root first. Slow enough to be called in a thread."""
        zygote = self._forks.pid, self._forks.restarts
        return process_stats.rows(list(self._children.values()), zygote, self._loop.time())

    # What children ask, by way of `supervisor.root.handlers`.

    def child(self, name: str) -> Child:
        """The process of that name, which is there because it asks."""
        return self._children[name]

    def came_up(self, name: str) -> None:
        """A process takes links from now on."""
        child = self._children[name]
        self._switchboard.mark_ready(name)
        if child.state is State.STARTING:
            self._enter(child, State.RUNNING)

    def works(self, name: str, *, busy: bool) -> None:
        """A process has work, or none any more."""
        (self.busy.add if busy else self.busy.discard)(name)
        self._changed()

    def have_worker(self, driver: str, domain: str, uuid: str) -> Child:
        """The worker of a domain; it is spawned if there is none.

        Raises:
            VirError: NO_SUPPORT for an unknown driver.
        """
        role = self.setting.workers.get(driver)
        if role is None:
            raise VirError(ErrorCode.NO_SUPPORT, f"there are no workers for '{driver}'")
        name = f"{role.name}:{domain}"
        child = self._children.get(name)
        if child is not None and child.ending:
            # A worker of the guest's former life is on its way out: the name is free now.
            self._forget(child, "it ended")
            child = None
        if child is None:
            child = Child(role, name, domain, uuid, self.setting.pid_file(driver, domain))
            self._children[name] = child
            self._spawn(child)
        return child

    def end_worker(self, name: str) -> None:
        """End a worker for good; one that is not there is no error."""
        child = self._children.get(name)
        if child is None or not child.is_worker or child.ending:
            return
        child.ending = True
        if child.state in WAITS_TO_START:
            self._forget(child, "its guest has gone")
            return
        self._tell_to_stop(child, "its guest has gone")
        self._loop.call_later(STOP_S, self._kill_if_there, child.ticket)

    async def renew_worker(self, name: str) -> None:
        """Have a fresh process take over from a worker that is up; returns when it is, or fails."""
        child = self._children.get(name)
        if child is None or child.state is not State.RUNNING or not child.is_worker:
            return
        child.renewing = True
        self._tell_to_stop(child, "a fresh one takes over")
        self._loop.call_later(STOP_S, self._kill_if_there, child.ticket)
        await self._until(lambda: child.state in SETTLED, RENEW_S)

    # What the zygote reports.

    def forked(self, ticket: int, pid: int) -> None:
        """A child runs."""
        if (child := self._by_ticket.get(ticket)) is not None:
            child.pid = pid
            self._changed()

    def ended(self, ticket: int, status: int | None) -> None:
        """A child has ended: decide what follows."""
        child = self._by_ticket.pop(ticket, None)
        if child is None:
            return
        pid, child.pid = child.pid, 0
        self._unlink(child)
        if self._stopping or child.ending:
            self._enter(child, State.STOPPED)
            if child.ending:
                self._forget(child, "it ended")
            return
        child.renewed, child.renewing = child.renewing, False
        if child.renewed:
            self._spawn(child)
            return
        decision = child.history.ended(self._loop.time(), crashed=status != 0)
        if not decision.restart:
            log.info("%s (pid %d) has finished", child.name, pid)
            self._forget(child, "it has finished")
            return
        log.warning(
            "%s (pid %d) %s; it is started again in %.1f s%s",
            child.name,
            pid,
            describe_status(status),
            decision.pause_s,
            ": it ended too often and is degraded" if decision.degraded else "",
        )
        self._enter(child, State.DEGRADED if decision.degraded else State.RESTARTING)
        if decision.degraded:
            self._switchboard.fail_waiting(child.name, "it ended too often and is degraded")
        self._loop.call_later(decision.pause_s, self._respawn, child)

    def zygote_changed(self) -> None:
        """Another zygote forks from now on; nobody else needs to know."""
        self._changed()

    # Spawning and ends.

    def _spawn(self, child: Child) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        child.peer = self._switchboard.attach(ours, child.name)
        child.started = self._loop.time()
        role = child.role
        child.ticket = self._forks.fork(child.name, role.entry, role.rights, theirs)
        self._by_ticket[child.ticket] = child
        self._enter(child, State.STARTING)

    def _respawn(self, child: Child) -> None:
        present = self._children.get(child.name) is child
        if child.state in WAITS_TO_START and present and not self._stopping:
            self._spawn(child)

    def _unlink(self, child: Child) -> None:
        """Close the control link of a process that has ended; a later one of its name keeps its."""
        if self._children.get(child.name) is child:
            self.busy.discard(child.name)
        if child.peer is not None:
            child.peer.close()
            child.peer = None

    def _kill_if_there(self, ticket: int) -> None:
        if (child := self._by_ticket.get(ticket)) is not None:
            log.warning("%s did not end in %.0f s and is killed", child.name, STOP_S)
            self._forks.kill(ticket)

    def _tell_to_stop(self, child: Child, why: str) -> None:
        if child.peer is not None:
            self._enter(child, State.STOPPING)
            with contextlib.suppress(BusError):
                child.peer.send(Stop(why=why))

    def _forget(self, child: Child, why: str) -> None:
        if self._children.get(child.name) is child:
            del self._children[child.name]
            self._switchboard.fail_waiting(child.name, why)
        self._changed()

    def _enter(self, child: Child, state: State) -> None:
        child.state = state
        log.debug("%s is %s", child.name, state)
        self._changed()

    def _changed(self) -> None:
        for callback in list(self.on_change):
            callback()

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a change after which the condition holds; whether it came in time."""
        changed = asyncio.Event()
        self.on_change.append(changed.set)
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return False
        finally:
            self.on_change.remove(changed.set)
        return True

    def _all_run(self) -> bool:
        services = [child for child in self._children.values() if not child.is_worker]
        return all(child.state is State.RUNNING for child in services)

    def _expected(self, name: str) -> bool:
        """Whether links to a process are worth waiting for."""
        child = self._children.get(name)
        return child is not None and child.state is not State.DEGRADED


def describe_status(status: int | None) -> str:
    """Say how a process ended."""
    if status is None:
        return "ended"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        known = number in signal.Signals.__members__.values()
        return f"was killed by {signal.Signals(number).name if known else f'signal {number}'}"
    return f"exited with {os.waitstatus_to_exitcode(status)}"
