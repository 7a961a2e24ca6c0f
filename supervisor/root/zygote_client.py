"""The zygote as the root sees it: what asks for children and learns how they end.

Owns: the zygote process, the way to it, a pidfd of every child.
May touch: processes that it has had forked. May not touch: what they are for.

A child's end is reported by the zygote, its parent. When the zygote itself dies its children live
on; their ends are then learnt from their pidfds, and another zygote is forked, with pauses that
grow if that one dies too.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from supervisor.root.zygote import MESSAGE, Fork, Report, fork_zygote
from supervisor.runtime.log import Collector
from supervisor.runtime.restart_policy import Policy, RestartHistory, RestartOn

END_S: Final = 5.0  # how long the zygote may take to end
FORK_S: Final = 10.0  # how long it may take to fork; then it is taken for hung
RESTARTS: Final = Policy(RestartOn.ALWAYS, longest_s=5.0, degraded_s=10.0)

log = logging.getLogger(__name__)


class Owner(Protocol):
    """Who has children forked, and hears of them by their tickets."""

    def forked(self, ticket: int, pid: int) -> None:
        """The child runs."""

    def ended(self, ticket: int, status: int | None) -> None:
        """The child has ended; `status` is waitpid's, None where nobody could learn it."""

    def zygote_changed(self) -> None:
        """Another zygote forks from now on."""


@dataclass(slots=True)
class Forked:
    """One child that has been asked for."""

    pid: int = 0  # 0: not reported yet
    pidfd: int = -1


class Forks:
    """Has children forked."""

    def __init__(self, collector: Collector, preload: Sequence[str]) -> None:
        """Fork the zygote. Call it before an event loop runs, and before threads do."""
        self._collector = collector
        self._preload = preload
        self._tickets = itertools.count(1)
        self._forked: dict[int, Forked] = {}
        self._history = RestartHistory(RESTARTS)
        self._stopping = False
        self._reaping: set[asyncio.Task[None]] = set()
        self.pid, self._zygote = self._new_zygote()
        self._loop: asyncio.AbstractEventLoop
        self._owner: Owner

    @property
    def restarts(self) -> int:
        """How often the zygote has been forked again."""
        return self._history.restarts

    def start(self, owner: Owner) -> None:
        """Begin to listen; `owner` hears of its children. Call it in the running loop."""
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._listen()

    def fork(self, name: str, entry: str, rights: str, control: socket.socket) -> int:
        """Ask for a child that is given `control`, which is closed here; its ticket.

        The owner hears of the child later: that it runs, or that it has ended.
        """
        ticket = next(self._tickets)
        self._forked[ticket] = Forked()
        request = Fork(ticket, name, entry, rights, self._collector.level)
        with control:
            try:
                socket.send_fds(self._zygote, [msgspec.msgpack.encode(request)], [control.fileno()])
            except OSError as error:
                log.error("%s cannot be forked: %s", name, error)
                self._loop.call_soon(self._ended, ticket, None)
        self._loop.call_later(FORK_S, self._must_run, ticket)
        return ticket

    def kill(self, ticket: int) -> None:
        """Kill a child that may have ended already."""
        forked = self._forked.get(ticket)
        if forked is not None and forked.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(forked.pidfd, signal.SIGKILL)

    async def stop(self) -> None:
        """End the zygote, which ends when its way to us closes; its children are not touched."""
        self._stopping = True
        if self._zygote.fileno() >= 0:
            self._loop.remove_reader(self._zygote.fileno())
            self._zygote.close()
        for ticket in list(self._forked):
            self._release(ticket)
        if self.pid:
            await self._reap(self.pid)
        await asyncio.gather(*self._reaping)

    async def _reap(self, pid: int) -> None:
        """Wait for a zygote's end; one that hangs is killed."""
        hung = self._loop.call_later(END_S, os.kill, pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            await asyncio.to_thread(os.waitpid, pid, 0)
        hung.cancel()

    def _new_zygote(self) -> tuple[int, socket.socket]:
        pid, way = fork_zygote(self._collector.theirs, self._preload, self._collector.level)
        way.settimeout(0)
        return pid, way

    def _must_run(self, ticket: int) -> None:
        forked = self._forked.get(ticket)
        if forked is not None and not forked.pid and self.pid:
            log.error("the zygote has forked nothing in %.0f s and is killed", FORK_S)
            os.kill(self.pid, signal.SIGKILL)

    def _listen(self) -> None:
        self._loop.add_reader(self._zygote.fileno(), self._readable)

    def _readable(self) -> None:
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
        if report.status is not None:
            self._ended(report.ticket, report.status)
        elif report.ticket in self._forked:
            self._runs(report.ticket, report.pid)

    def _runs(self, ticket: int, pid: int) -> None:
        pidfd = -1
        with contextlib.suppress(ProcessLookupError):  # its end is reported next
            pidfd = os.pidfd_open(pid)
        self._forked[ticket] = Forked(pid, pidfd)
        self._owner.forked(ticket, pid)

    def _ended(self, ticket: int, status: int | None) -> None:
        if self._release(ticket):
            self._owner.ended(ticket, status)

    def _release(self, ticket: int) -> bool:
        forked = self._forked.pop(ticket, None)
        if forked is not None and forked.pidfd >= 0:
            self._loop.remove_reader(forked.pidfd)
            os.close(forked.pidfd)
        return forked is not None

    def _zygote_lost(self) -> None:
        """Watch its children ourselves, and fork another."""
        self._loop.remove_reader(self._zygote.fileno())
        self._zygote.close()
        lost, self.pid = self.pid, 0
        reaping = self._loop.create_task(self._reap(lost))
        self._reaping.add(reaping)
        reaping.add_done_callback(self._reaping.discard)
        if self._stopping:
            return
        decision = self._history.ended(self._loop.time(), crashed=True)
        log.error("the zygote (pid %d) has gone; again in %.1f s", lost, decision.pause_s)
        if decision.pause_s:
            self._loop.call_later(decision.pause_s, self._again)
        else:
            self._again()
        for ticket, forked in list(self._forked.items()):
            if forked.pidfd >= 0:
                self._loop.add_reader(forked.pidfd, self._ended, ticket, None)
            else:
                self._ended(ticket, None)

    def _again(self) -> None:
        if not self._stopping:
            self.pid, self._zygote = self._new_zygote()
            self._listen()
            self._owner.zygote_changed()
