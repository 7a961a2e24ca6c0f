"""The process tree: spawning, watching, restarting, stopping.

Owns: every child and the zygote.
May touch: processes it has spawned. May not touch: client sockets, guests, what services do.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import psutil

from conf.settings import DaemonConfig, QemuConfig
from ipc import BusError, Descriptor, Done, Switchboard, caller, handles
from rpc.errors import ErrorCode, VirError
from supervisor.calls import VirErrors
from supervisor.log import Collector
from supervisor.messages.child import Assignment, Begin, Reload, Stop
from supervisor.messages.root import (
    Activity,
    EndWorker,
    ListProcesses,
    Processes,
    ProcessStatus,
    Ready,
    Spawned,
    SpawnWorker,
)
from supervisor.root.child import Child, State
from supervisor.root.roles import PRELOAD, SERVICES, WORKERS
from supervisor.root.zygote import MESSAGE, Fork, Report, fork_zygote

STOP_S: Final = 5.0  # for an orderly end; then comes SIGKILL

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Setting:
    """What every process of this daemon is given."""

    root: str
    session: bool
    config: DaemonConfig
    qemu_config: QemuConfig
    sockets: dict[str, socket.socket]


class Tree:
    """All processes of one daemon."""

    def __init__(self, setting: Setting, collector: Collector) -> None:
        """Fork the zygote; nothing else runs yet. Call it before an event loop does."""
        self.setting = setting
        self.busy: set[str] = set()  # processes with work that keeps the daemon up
        self.on_change: list[Callable[[], None]] = []  # called when `busy` or a state changes
        self._collector = collector
        self._children: dict[str, Child] = {}
        self._by_ticket: dict[int, Child] = {}
        self._tickets = itertools.count(1)
        self._stopping = False
        self._zygote_pid, self._zygote = fork_zygote(collector.theirs, PRELOAD)
        self._loop: asyncio.AbstractEventLoop
        self._switchboard: Switchboard

    def start(self) -> None:
        """Spawn every service. Call it with the event loop running."""
        self._loop = asyncio.get_running_loop()
        self._switchboard = Switchboard(VirErrors())
        self._switchboard.expects = lambda name: name in self._children
        self._switchboard.serve(self)
        self._watch_zygote()
        for role in SERVICES:
            self._children[role.name] = Child(role, role.name)
            self._spawn(self._children[role.name])

    async def ready(self, timeout_s: float) -> bool:
        """Wait until every service runs; whether all of them do."""
        changed = asyncio.Event()
        self.on_change.append(changed.set)
        try:
            async with asyncio.timeout(timeout_s):
                while not self._all_run():
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return False
        finally:
            self.on_change.remove(changed.set)
        return True

    def reload(self, config: DaemonConfig, qemu_config: QemuConfig) -> None:
        """Hand new settings to every process."""
        self.setting.config, self.setting.qemu_config = config, qemu_config
        for child in self._children.values():
            if child.peer is not None:
                child.peer.send(Reload(config=config, qemu_config=qemu_config))

    async def stop(self) -> None:
        """End every process, in order where it can; guests stay."""
        self._stopping = True
        for child in list(self._children.values()):
            self._tell_to_stop(child, "the daemon stops")
        ended = asyncio.Event()
        self.on_change.append(ended.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                while any(child.pid for child in self._children.values()):
                    ended.clear()
                    await ended.wait()
        for child in self._children.values():
            if child.pid:
                log.warning("%s did not end in %.0f s and is killed", child.name, STOP_S)
                kill(child.pid)
        if self._zygote.fileno() >= 0:
            self._loop.remove_reader(self._zygote.fileno())
            self._zygote.close()
        await self._zygote_end()

    async def _zygote_end(self) -> None:
        """Wait for the zygote, which ends when its way to us closes."""
        with contextlib.suppress(ChildProcessError):
            try:
                async with asyncio.timeout(STOP_S):
                    await asyncio.to_thread(os.waitpid, self._zygote_pid, 0)
            except TimeoutError:
                kill(self._zygote_pid)

    def workers(self) -> int:
        """How many guests have a worker."""
        return sum(child.is_worker for child in self._children.values())

    def status(self) -> list[ProcessStatus]:
        """Describe every process; reads /proc, so it is for a thread."""
        now = self._loop.time()
        rows = [
            ProcessStatus(
                name=child.name,
                pid=child.pid,
                state=child.state,
                restarts=child.history.restarts,
                uptime_s=round(now - child.started, 1) if child.pid else 0.0,
                private_kib=private_kib(child.pid),
            )
            for child in list(self._children.values())
        ]
        return [own_status("root", os.getpid()), own_status("zygote", self._zygote_pid), *rows]

    # What children ask.

    @handles(Begin)
    def begin(self, request: Begin) -> Assignment:
        """Tell a new process what it is."""
        child = self._calling()
        sockets = {}
        if child.name == "rpcd":
            listening = self.setting.sockets
            sockets = {name: Descriptor(os.dup(end.fileno())) for name, end in listening.items()}
        return Assignment(
            root=self.setting.root,
            session=self.setting.session,
            config=self.setting.config,
            qemu_config=self.setting.qemu_config,
            sockets=sockets,
            driver=child.role.name if child.is_worker else "",
            domain=child.domain,
            uuid=child.uuid,
        )

    @handles(Ready)
    def ready_child(self, request: Ready) -> Done:
        """A process answers from now on."""
        child = self._calling()
        self._switchboard.mark_ready(child.name)
        self._enter(child, State.RUNNING)
        return Done()

    @handles(Activity)
    def activity(self, event: Activity) -> None:
        """A process has work, or none any more."""
        name = caller().peer
        (self.busy.add if event.busy else self.busy.discard)(name)
        self._changed()

    @handles(SpawnWorker)
    def spawn_worker(self, request: SpawnWorker) -> Spawned:
        """Have a worker for a domain.

        Raises:
            VirError: ACCESS_DENIED for others than domd; NO_SUPPORT for an unknown driver.
        """
        self._only_domd()
        role = WORKERS.get(request.driver)
        if role is None:
            raise VirError(ErrorCode.NO_SUPPORT, f"there are no workers for '{request.driver}'")
        name = f"{role.name}:{request.domain}"
        child = self._children.get(name)
        if child is not None and child.ending:
            # A worker of the guest's former life is on its way out: the name is free now.
            self._forget(child)
            child = None
        if child is None:
            child = Child(role, name, request.domain, request.uuid)
            self._children[name] = child
            self._spawn(child)
        return Spawned(name=name, pid=child.pid)

    @handles(EndWorker)
    def end_worker(self, request: EndWorker) -> Done:
        """End a worker for good.

        Raises:
            VirError: ACCESS_DENIED for others than domd.
        """
        self._only_domd()
        child = self._children.get(request.name)
        if child is not None and child.is_worker and not child.ending:
            child.ending = True
            self._tell_to_stop(child, "its guest has gone")
            self._loop.call_later(STOP_S, self._kill_if_there, child, child.ticket)
            if not child.pid and child.state in (State.RESTARTING, State.DEGRADED):
                self._forget(child)
        return Done()

    @handles(ListProcesses)
    async def list_processes(self, request: ListProcesses) -> Processes:
        """Describe the tree."""
        return Processes(processes=await asyncio.to_thread(self.status))

    # Spawning and ends.

    def _spawn(self, child: Child) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        child.ticket = next(self._tickets)
        child.orphan = False
        self._by_ticket[child.ticket] = child
        child.peer = self._switchboard.attach(ours, child.name)
        ticket = child.ticket
        child.peer.on_lost.append(lambda _: self._control_lost(child, ticket))
        child.started = self._loop.time()
        self._enter(child, State.STARTING)
        request = Fork(
            ticket, child.name, child.role.entry, child.role.rights, self._collector.level
        )
        with theirs:
            try:
                socket.send_fds(self._zygote, [msgspec.msgpack.encode(request)], [theirs.fileno()])
            except OSError as problem:
                log.error("%s cannot be forked: %s", child.name, problem)
                self._loop.call_soon(self._ended, child, None)

    def _watch_zygote(self) -> None:
        self._zygote.settimeout(0)
        self._loop.add_reader(self._zygote.fileno(), self._zygote_says)

    def _zygote_says(self) -> None:
        try:
            data = self._zygote.recv(MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._zygote_lost()
            return
        report = msgspec.msgpack.decode(data, type=Report)
        child = self._by_ticket.get(report.ticket)
        if child is None or child.ticket != report.ticket:
            self._by_ticket.pop(report.ticket, None)
            return
        if report.status is None:
            child.pid = report.pid
            self._changed()
        else:
            self._ended(child, report.status)

    def _zygote_lost(self) -> None:
        """Fork another; the children of the lost one live on, but nobody reports their end."""
        self._loop.remove_reader(self._zygote.fileno())
        self._zygote.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._zygote_pid, os.WNOHANG)
        if self._stopping:
            return
        log.error("the zygote has gone; another one is forked")
        for child in self._children.values():
            child.orphan = bool(child.pid)
        self._zygote_pid, self._zygote = fork_zygote(self._collector.theirs, PRELOAD)
        self._watch_zygote()
        self._changed()
        for child in list(self._children.values()):
            if not child.pid and child.state is State.STARTING:
                self._ended(child, None)  # it was never forked

    def _control_lost(self, child: Child, ticket: int) -> None:
        if child.orphan and child.ticket == ticket:
            kill(child.pid)  # it ends by itself when its link closes; this makes sure
            self._ended(child, None)

    def _ended(self, child: Child, status: int | None) -> None:
        self._by_ticket.pop(child.ticket, None)
        crashed = status != 0
        pid, child.pid = child.pid, 0
        self.busy.discard(child.name)
        if child.peer is not None:
            child.peer.close()
            child.peer = None
        if self._stopping or child.ending:
            self._enter(child, State.STOPPED)
            if child.ending and self._children.get(child.name) is child:
                self._forget(child)
            return
        decision = child.history.ended(self._loop.time(), crashed=crashed)
        if not decision.restart:
            log.info("%s (pid %d) has finished", child.name, pid)
            self._forget(child)
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
        self._loop.call_later(decision.pause_s, self._respawn, child)

    def _respawn(self, child: Child) -> None:
        waiting = child.state in (State.RESTARTING, State.DEGRADED)
        if waiting and not self._stopping and self._children.get(child.name) is child:
            self._spawn(child)

    def _kill_if_there(self, child: Child, ticket: int) -> None:
        if child.pid and child.ticket == ticket:
            log.warning("%s did not end in %.0f s and is killed", child.name, STOP_S)
            kill(child.pid)

    def _tell_to_stop(self, child: Child, why: str) -> None:
        if child.peer is not None:
            self._enter(child, State.STOPPING)
            with contextlib.suppress(BusError):
                child.peer.send(Stop(why=why))

    def _forget(self, child: Child) -> None:
        if self._children.get(child.name) is child:
            del self._children[child.name]
        self._changed()

    def _enter(self, child: Child, state: State) -> None:
        child.state = state
        log.debug("%s is %s", child.name, state)
        self._changed()

    def _changed(self) -> None:
        for callback in list(self.on_change):
            callback()

    def _all_run(self) -> bool:
        services = [child for child in self._children.values() if not child.is_worker]
        return all(child.state is State.RUNNING for child in services)

    def _calling(self) -> Child:
        return self._children[caller().peer]

    def _only_domd(self) -> None:
        if caller().peer != "domd":
            detail = f"{caller().peer} may not spawn or end workers"
            raise VirError(ErrorCode.ACCESS_DENIED, detail)


def kill(pid: int) -> None:
    """Kill a process that may have gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def describe_status(status: int | None) -> str:
    """Say how a process ended."""
    if status is None:
        return "ended"
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exited with {os.waitstatus_to_exitcode(status)}"


def private_kib(pid: int) -> int:
    """Memory that is a process's own alone, in KiB; 0 when it has gone."""
    try:
        return int(psutil.Process(pid).memory_full_info().uss) // 1024 if pid else 0
    except psutil.Error:
        return 0


def own_status(name: str, pid: int) -> ProcessStatus:
    """Describe a process that is no child: the root and the zygote."""
    try:
        age = time.time() - psutil.Process(pid).create_time()
    except psutil.Error:
        age = 0.0
    return ProcessStatus(
        name=name,
        pid=pid,
        state=State.RUNNING,
        restarts=0,
        uptime_s=round(age, 1),
        private_kib=private_kib(pid),
    )
