"""The process tree: spawning, watching, restarting, stopping.

Owns: every child, its state and its restarts.
May touch: processes it has spawned. May not touch: client sockets, guests, the roles' work.
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
from supervisor.access.roles import Roles
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.messages.calls import AccessExplanation, ExplainAccess
from supervisor.messages.child import HandOver, Reload, SetLogLevel, Stop
from supervisor.messages.root import (
    AccessRequest,
    LogSettings,
    ProcessState,
    ProcessStatus,
    TlsFiles,
)
from supervisor.root import process_list
from supervisor.root.child import Child
from supervisor.root.roles import LOGD, PRELOAD, SERVICES, WORKERS, Role
from supervisor.root.tls_files import no_tls_files
from supervisor.root.watchdog import Watchdog
from supervisor.root.zygote_client import RESTARTS, ZygoteClient
from supervisor.runtime.log import Collector, Output, parse_outputs, stderr_output
from supervisor.runtime.restart_policy import Policy

NO_ACCESS_DRIVER: Final = "none"  # libvirt's driver that allows everything
STOP_S: Final = 5.0  # for an orderly exit; then SIGKILL
START_PENDING: Final = (ProcessState.RESTARTING, ProcessState.DEGRADED)
SETTLED: Final = (*START_PENDING, ProcessState.RUNNING, ProcessState.STOPPED)
REPLACE_S: Final = 10.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class TreeConfig:
    """The configuration of the tree and of its processes."""

    root: str
    session: bool
    config: DaemonConfig
    qemu_config: QemuConfig
    sockets: dict[str, socket.socket]
    #: the pid file of a guest, by driver and name
    pid_file: Callable[[str, str], Path] = Path
    services: tuple[Role, ...] = SERVICES
    on_demand: tuple[Role, ...] = (LOGD,)  # services that are forked when they are first needed
    workers: Mapping[str, Role] = field(default_factory=lambda: WORKERS)
    preload: tuple[str, ...] = PRELOAD
    zygote_restarts: Policy = RESTARTS
    default_output: Output = field(default_factory=stderr_output)
    roles: Roles = field(default_factory=Roles)
    read_tls: Callable[[DaemonConfig], TlsFiles] = no_tls_files  # raises TlsError


class Tree:
    """All processes of one daemon."""

    def __init__(self, config: TreeConfig, collector: Collector) -> None:
        """Fork the zygote. Call it before an event loop runs."""
        self.config = config
        self.set_timeout: Callable[[int], None] = _no_timeout  # the daemon's; seconds, 0: never
        self._collector = collector
        self.busy: set[str] = set()  # processes that keep the daemon running (--timeout)
        self.on_change: list[Callable[[], None]] = []  # called when `busy` or a state changes
        self._children: dict[str, Child] = {}
        self._by_fork_id: dict[int, Child] = {}
        self._stopping = False
        self._zygote = ZygoteClient(collector, config.preload, config.zygote_restarts)
        self._watchdog = Watchdog(self)
        self._loop: asyncio.AbstractEventLoop
        self._switchboard: Switchboard

    def start(self, make_handlers: Callable[[Tree], object]) -> None:
        """Spawn every service; their requests are handled by what `make_handlers` returns.

        Call it with the event loop running.
        """
        self._loop = asyncio.get_running_loop()
        self._switchboard = Switchboard(VirErrorCodec())
        self._switchboard.expects = self._is_expected
        self._switchboard.serve(make_handlers(self))
        self._zygote.start(self)
        for role in self.config.services:
            self.ensure_service(role)
        self._watchdog.start()

    def ensure_service(self, role: Role) -> None:
        """Spawn a service that does not run yet."""
        if role.name not in self._children:
            self._children[role.name] = Child(role, role.name)
            self._spawn(self._children[role.name])

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait until every service is running; False after the timeout."""
        return await self._wait_until(self._all_running, timeout_s)

    def reload(self, config: DaemonConfig, qemu_config: QemuConfig, roles: Roles) -> None:
        """Send a new configuration to every process."""
        self.config.config, self.config.qemu_config = config, qemu_config
        self.config.roles = roles
        for child in self._children.values():
            if child.peer is not None:
                with contextlib.suppress(BusError):  # a lost peer gets it when it is restarted
                    given = Roles() if child.is_worker else roles
                    child.peer.send(Reload(config=config, qemu_config=qemu_config, roles=given))

    def set_log(self, outputs: str | None, filters: str | None) -> None:
        """Change the log of every process; None leaves a setting as it is.

        Raises:
            ValueError: a setting has another form.
        """
        parsed = None if outputs is None else parse_outputs(outputs, self.config.default_output)
        if filters is not None:
            self._collector.filter_by(filters)
            for child in self._children.values():
                if child.peer is not None:
                    with contextlib.suppress(BusError):
                        child.peer.send(SetLogLevel(level=self._collector.level))
        if parsed is not None:
            self._collector.write_to(parsed)

    def log_settings(self) -> LogSettings:
        """Return the log's settings."""
        return LogSettings(outputs=self._collector.outputs, filters=self._collector.filters)

    async def stop(self) -> None:
        """Stop every process, by SIGKILL after the timeout; guests run on."""
        self._stopping = True
        self._watchdog.stop()
        for child in list(self._children.values()):
            self._request_stop(child, "the daemon stops")
        if not await self._wait_until(lambda: not self._awaited(), STOP_S):
            for child in self._awaited():
                log.warning("%s did not exit in %.0f s and is killed", child.name, STOP_S)
                self._zygote.kill(child.fork_id)
        await self._zygote.stop()

    def _awaited(self) -> list[Child]:
        """List the processes that must have exited before the root does."""
        return [child for child in self._by_fork_id.values() if not child.role.outlives]

    def workers(self) -> int:
        """Count the workers."""
        return sum(child.is_worker for child in self._children.values())

    def status(self) -> list[ProcessStatus]:
        """List all processes, the root first. It blocks: call it in a thread."""
        zygote = self._zygote.pid, self._zygote.restarts
        return process_list.list_processes(list(self._children.values()), zygote, self._loop.time())

    async def explain_access(self, request: AccessRequest) -> AccessExplanation:
        """Have a process explain what access control says to a call.

        Raises:
            VirError: NO_SUPPORT: there is no access control; INVALID_ARG: there is no such process.
            BusError: it does not answer.
        """
        if not set(self.config.config.access_drivers) - {NO_ACCESS_DRIVER}:
            detail = "access_drivers is empty: whoever may connect may call everything"
            raise VirError(ErrorCode.NO_SUPPORT, detail)
        child = self._children.get(request.process)
        if child is None or child.peer is None or child.is_worker:
            raise VirError(ErrorCode.INVALID_ARG, f"there is no process '{request.process}'")
        return await child.peer.call(ExplainAccess(question=request.question))

    # What the watchdog needs (`HungProcesses`).

    def children(self) -> list[Child]:
        """List the processes."""
        return list(self._children.values())

    def signal(self, fork_id: int, number: signal.Signals) -> None:
        """Send a signal to a process, unless it has exited."""
        self._zygote.signal(fork_id, number)

    # Requests of children, called by `supervisor.root.handlers`.

    def child(self, name: str) -> Child:
        """Look up a child that has sent a request, and so exists."""
        return self._children[name]

    def mark_ready(self, name: str) -> None:
        """Mark a process as running: links to it may be made."""
        child = self._children[name]
        self._switchboard.mark_ready(name)
        if child.state is ProcessState.STARTING:
            self._set_state(child, ProcessState.RUNNING)

    def set_busy(self, name: str, *, busy: bool) -> None:
        """Record whether a process has work that keeps the daemon running."""
        (self.busy.add if busy else self.busy.discard)(name)
        self._changed()

    def ensure_worker(self, driver: str, domain: str, uuid: str) -> tuple[Child, bool]:
        """Return the worker of a domain and whether it was there; spawn it if it was not.

        Raises:
            VirError: NO_SUPPORT for an unknown driver.
        """
        role = self.config.workers.get(driver)
        if role is None:
            raise VirError(ErrorCode.NO_SUPPORT, f"there are no workers for '{driver}'")
        name = f"{role.name}:{domain}"
        child = self._children.get(name)
        if child is not None and child.ending:
            # The worker of the domain's previous run is exiting; the new one replaces it.
            self._remove(child, "it has exited")
            child = None
        if child is not None:
            return child, True
        child = Child(role, name, domain, uuid, self.config.pid_file(driver, domain))
        self._children[name] = child
        self._spawn(child)
        return child, False

    def end_worker(self, name: str) -> None:
        """Stop a worker and do not restart it; an unknown one is no error."""
        child = self._children.get(name)
        if child is None or not child.is_worker or child.ending:
            return
        child.ending = True
        if child.state in START_PENDING:
            self._remove(child, "its guest is shut off")
            return
        self._request_stop(child, "its guest is shut off")
        self._loop.call_later(STOP_S, self._kill_after_timeout, child.fork_id)

    async def replace_worker(self, name: str) -> None:
        """Replace a running worker by a new process; returns when that runs or has failed."""
        child = self._children.get(name)
        if child is None or child.state is not ProcessState.RUNNING or not child.is_worker:
            return
        child.replacing = True
        self._request_stop(child, "it is replaced")
        self._loop.call_later(STOP_S, self._kill_after_timeout, child.fork_id)
        await self._wait_until(lambda: child.state in SETTLED, REPLACE_S)

    async def renew_worker(self, name: str) -> bool:
        """Replace a running worker that has nothing under way; whether it was."""
        child = self._children.get(name)
        if child is None or not child.is_worker or child.peer is None or child.replacing:
            return False
        if child.state is not ProcessState.RUNNING:
            return False
        fork_id = child.fork_id
        try:
            handed = await child.peer.call(HandOver())
        except (BusError, VirError) as error:
            log.info("%s does not hand its guest over: %s", name, error)
            return False
        if handed.inheritance is None:
            return False
        if child.state is not ProcessState.RUNNING or child.fork_id != fork_id:
            handed.inheritance.close()  # it is ended meanwhile
            return False
        child.inherited = handed.inheritance
        await self.replace_worker(name)
        return True

    # Reports of the zygote (`ForkListener`).

    def child_forked(self, fork_id: int, pid: int) -> None:
        """Record a child's pid."""
        if (child := self._by_fork_id.get(fork_id)) is not None:
            child.pid = pid
            if child.state is ProcessState.STOPPING:
                self.signal(fork_id, signal.SIGTERM)
            self._changed()

    def child_exited(self, fork_id: int, status: int | None) -> None:
        """Handle a child's exit: remove it, or restart it by its policy."""
        child = self._by_fork_id.pop(fork_id, None)
        if child is None:
            return
        pid, child.pid = child.pid, 0
        self._unlink(child)
        if self._stopping or child.ending:
            child.drop_inherited()
            self._set_state(child, ProcessState.STOPPED)
            if child.ending:
                self._remove(child, "it has exited")
            return
        if not child.replacing:
            child.drop_inherited()
        child.is_replacement, child.replacing = child.replacing, False
        if child.is_replacement:
            self._spawn(child)
            return
        decision = child.history.ended(self._loop.time(), crashed=status != 0)
        if not decision.restart:
            log.info("%s (pid %d) has finished", child.name, pid)
            self._remove(child, "it has finished")
            return
        log.warning(
            "%s (pid %d) %s; it is restarted in %.1f s%s",
            child.name,
            pid,
            describe_status(status),
            decision.pause_s,
            ": it exited too often and is degraded" if decision.degraded else "",
        )
        self._set_state(
            child, ProcessState.DEGRADED if decision.degraded else ProcessState.RESTARTING
        )
        if decision.degraded:
            self._switchboard.fail_waiting(child.name, "it exited too often and is degraded")
        self._loop.call_later(decision.pause_s, self._respawn, child)

    def zygote_restarted(self) -> None:
        """Publish the change: virtvisorctl shows the zygote's pid and restarts."""
        self._changed()

    # Spawning and exits.

    def _spawn(self, child: Child) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        child.peer = self._switchboard.attach(ours, child.name)
        child.started = self._loop.time()
        role = child.role
        child.fork_id = self._zygote.fork(child.name, role.entry, role.confinement, theirs)
        self._by_fork_id[child.fork_id] = child
        self._set_state(child, ProcessState.STARTING)

    def _respawn(self, child: Child) -> None:
        present = self._children.get(child.name) is child
        if child.state in START_PENDING and present and not self._stopping:
            self._spawn(child)

    def _unlink(self, child: Child) -> None:
        """Close the control link of an exited process, but not that of a later one of its name."""
        if self._children.get(child.name) is child:
            self.busy.discard(child.name)
        if child.peer is not None:
            child.peer.close()
            child.peer = None

    def _kill_after_timeout(self, fork_id: int) -> None:
        if (child := self._by_fork_id.get(fork_id)) is not None:
            log.warning("%s did not exit in %.0f s and is killed", child.name, STOP_S)
            self._zygote.kill(fork_id)

    def _request_stop(self, child: Child, why: str) -> None:
        if child.peer is not None:
            if child.state is ProcessState.STARTING:
                # It may not handle messages yet; SIGTERM ends it either way.
                self.signal(child.fork_id, signal.SIGTERM)
            self._set_state(child, ProcessState.STOPPING)
            with contextlib.suppress(BusError):
                child.peer.send(Stop(why=why))

    def _remove(self, child: Child, why: str) -> None:
        if self._children.get(child.name) is child:
            del self._children[child.name]
            self._switchboard.fail_waiting(child.name, why)
        self._changed()

    def _set_state(self, child: Child, state: ProcessState) -> None:
        child.state = state
        log.debug("%s is %s", child.name, state)
        self._changed()

    def _changed(self) -> None:
        for callback in list(self.on_change):
            callback()

    async def _wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the condition holds; False after the timeout."""
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

    def _all_running(self) -> bool:
        services = [child for child in self._children.values() if not child.is_worker]
        return all(child.state is ProcessState.RUNNING for child in services)

    def _is_expected(self, name: str) -> bool:
        """Return whether a link to a process may be waited for; one on demand is spawned now."""
        for role in self.config.on_demand:
            if role.name == name and not self._stopping:
                self.ensure_service(role)
        child = self._children.get(name)
        return child is not None and child.state is not ProcessState.DEGRADED


def _no_timeout(seconds: int) -> None:
    """Ignore --timeout: no daemon has been made of the tree."""


def describe_status(status: int | None) -> str:
    """Describe how a process exited, for the log."""
    if status is None:
        return "exited"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGSYS:
            return "was killed by SIGSYS: it made a system call that it may never make"
        is_named = number in signal.Signals.__members__.values()
        return f"was killed by {signal.Signals(number).name if is_named else f'signal {number}'}"
    return f"exited with {os.waitstatus_to_exitcode(status)}"
