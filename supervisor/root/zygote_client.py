"""The root's client of the zygote: it requests forks and reports the children's exits.

Owns: the zygote process, the socket to it, a pidfd of every child.
May touch: processes that the zygote has forked. May not touch: their roles.

A child's exit is reported by the zygote, its parent. When the zygote itself dies its children live
on; their exits are then seen by their pidfds, and another zygote is started, with pauses that grow
if that one dies too.
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

from ipc.reset_sockets import take_reset
from supervisor.root.confinement import Confinement
from supervisor.root.zygote import MAX_MESSAGE, ForkReport, ForkRequest, exec_zygote, fork_zygote
from supervisor.runtime.log import Collector
from supervisor.runtime.restart_policy import Policy, RestartHistory, RestartOn

END_S: Final = 5.0  # how long the zygote may take to end
FORK_S: Final = 10.0  # how long it may give no report of a fork; then it is taken for hung
#: The same while it imports roles: a slow host without compiled modules takes half a minute.
LOAD_S: Final = 120.0
RESTARTS: Final = Policy(RestartOn.ALWAYS, longest_s=5.0, degraded_s=10.0)

log = logging.getLogger(__name__)


class ForkListener(Protocol):
    """What is called when children start and exit; each is named by the id of its fork."""

    def child_forked(self, fork_id: int, pid: int) -> None:
        """Handle that the child runs."""

    def child_exited(self, fork_id: int, status: int | None) -> None:
        """Handle that the child has exited; `status` is waitpid's, None where it is not known."""

    def zygote_restarted(self) -> None:
        """Handle that another zygote forks from now on."""


@dataclass(slots=True)
class ForkedChild:
    """A child whose fork has been requested."""

    pid: int = 0  # 0: not reported yet
    pidfd: int = -1


class ZygoteClient:
    """Starts the zygote and requests forks from it."""

    def __init__(
        self, collector: Collector, preload: Sequence[str], restarts: Policy = RESTARTS
    ) -> None:
        """Fork the zygote. Call it before an event loop runs, and before threads do."""
        self._collector = collector
        self._preload = preload
        self._fork_ids = itertools.count(1)
        self._children: dict[int, ForkedChild] = {}
        self._history = RestartHistory(restarts)
        self._stopping = False
        self._is_loading = True  # until it first reports
        self._reported = 0.0  # when it last reported, in the event loop's time
        self._reaping: set[asyncio.Task[None]] = set()
        self.pid, self._socket = fork_zygote(collector.child_end, preload, collector.level)
        self._socket.setblocking(False)  # noqa: FBT003  (socket's own)
        self._loop: asyncio.AbstractEventLoop
        self._listener: ForkListener

    @property
    def restarts(self) -> int:
        """How often another zygote has been started."""
        return self._history.restarts

    def start(self, listener: ForkListener) -> None:
        """Begin to report to `listener`. Call it in the running loop."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._reported = self._loop.time()
        self._listen()

    def fork(self, name: str, entry: str, confinement: Confinement, control: socket.socket) -> int:
        """Request a child that inherits `control`, which is closed here; return the fork's id.

        The listener is called later: when the child runs, and when it has exited.
        """
        fork_id = next(self._fork_ids)
        if all(child.pid for child in self._children.values()):
            self._reported = self._loop.time()  # nothing was asked of it until now
        self._children[fork_id] = ForkedChild()
        request = ForkRequest(fork_id, name, entry, confinement, self._collector.level)
        with control:
            try:
                socket.send_fds(self._socket, [msgspec.msgpack.encode(request)], [control.fileno()])
            except OSError as error:
                log.error("%s cannot be forked: %s", name, error)
                self._loop.call_soon(self._child_exited, fork_id, None)
        self._loop.call_later(FORK_S, self._kill_if_hung, fork_id)
        return fork_id

    def kill(self, fork_id: int) -> None:
        """Kill a child; one that has exited already is no error."""
        self.signal(fork_id, signal.SIGKILL)

    def signal(self, fork_id: int, number: signal.Signals) -> None:
        """Send a child a signal; one that has exited already is no error."""
        forked = self._children.get(fork_id)
        if forked is not None and forked.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(forked.pidfd, number)

    async def stop(self) -> None:
        """Close the socket to the zygote, which ends it; its children are not touched."""
        self._stopping = True
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for fork_id in list(self._children):
            self._release(fork_id)
        if self.pid:
            await self._reap(self.pid)
        await asyncio.gather(*self._reaping)

    async def _reap(self, pid: int) -> None:
        """Wait for a zygote's exit; one that hangs is killed."""
        hung = self._loop.call_later(END_S, os.kill, pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            await asyncio.to_thread(os.waitpid, pid, 0)
        hung.cancel()

    def _kill_if_hung(self, fork_id: int) -> None:
        forked = self._children.get(fork_id)
        if forked is None or forked.pid or not self.pid:
            return
        limit = LOAD_S if self._is_loading else FORK_S
        left = self._reported + limit - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._kill_if_hung, fork_id)
            return
        log.error("the zygote has reported nothing in %.0f s and is killed", limit)
        os.kill(self.pid, signal.SIGKILL)

    def _listen(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(MAX_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._zygote_lost()
            return
        report = msgspec.msgpack.decode(data, type=ForkReport)
        self._reported, self._is_loading = self._loop.time(), report.loading
        if report.status is not None:
            self._child_exited(report.fork_id, report.status)
        elif report.fork_id in self._children:
            self._set_pid(report.fork_id, report.pid)
        if self._socket.fileno() >= 0 and take_reset(self._socket):
            self._loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._listen()

    def _set_pid(self, fork_id: int, pid: int) -> None:
        pidfd = -1
        with contextlib.suppress(ProcessLookupError):  # its exit is reported next
            pidfd = os.pidfd_open(pid)
        self._children[fork_id] = ForkedChild(pid, pidfd)
        self._listener.child_forked(fork_id, pid)

    def _child_exited(self, fork_id: int, status: int | None) -> None:
        if self._release(fork_id):
            self._listener.child_exited(fork_id, status)

    def _release(self, fork_id: int) -> bool:
        forked = self._children.pop(fork_id, None)
        if forked is not None and forked.pidfd >= 0:
            self._loop.remove_reader(forked.pidfd)
            os.close(forked.pidfd)
        return forked is not None

    def _zygote_lost(self) -> None:
        """Watch its children by their pidfds, and start another."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        lost, self.pid = self.pid, 0
        reaping = self._loop.create_task(self._reap(lost))
        self._reaping.add(reaping)
        reaping.add_done_callback(self._reaping.discard)
        if self._stopping:
            return
        self._schedule_restart(f"the zygote (pid {lost}) has exited")
        for fork_id, forked in list(self._children.items()):
            if forked.pidfd >= 0:
                self._loop.add_reader(forked.pidfd, self._child_exited, fork_id, None)
            else:
                self._child_exited(fork_id, None)

    def _schedule_restart(self, why: str) -> None:
        decision = self._history.ended(self._loop.time(), crashed=True)
        log.error("%s; another is started in %.1f s", why, decision.pause_s)
        if decision.pause_s:
            self._loop.call_later(decision.pause_s, self._restart_zygote)
        else:
            self._restart_zygote()

    def _restart_zygote(self) -> None:
        if self._stopping:
            return
        collector = self._collector
        try:
            # Not a fork: the running root has an event loop, whose state a fork would inherit.
            self.pid, self._socket = exec_zygote(
                collector.child_end, self._preload, collector.level
            )
        except OSError as error:
            self._schedule_restart(f"the zygote cannot be executed: {error}")
            return
        self._socket.setblocking(False)  # noqa: FBT003
        self._is_loading, self._reported = True, self._loop.time()
        self._listen()
        self._listener.zygote_restarted()
