"""Watchdog: a process that gives no sign of life is killed, and so started again.

Owns: when each process answered last. May touch: processes, through `HungProcesses`.
May not touch: guests: a worker's guest runs on, and its next worker takes it over.

A process whose event loop is blocked, that spins or is stopped, holds up each client that needs it,
and no exit tells of it. Each answers on its control link; so a role that works in threads or waits
for a disk is not taken for hung.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterable
from typing import Final, Protocol

from ipc import BusError, Peer
from supervisor.messages.child import SignOfLife
from supervisor.messages.root import ProcessState
from supervisor.root.child import Child

PERIOD_S: Final = 1.0
#: From an answer to the next question: 200 idle workers are not woken each second.
REST_S: Final = 3.0
#: A tick that comes later than this shows that the root itself, or the host, was held up.
LATE_S: Final = 2.0
#: From the request for the stack to SIGKILL; faulthandler writes it in a signal handler.
DUMP_S: Final = 0.5

log = logging.getLogger(__name__)


class HungProcesses(Protocol):
    """What the watchdog needs of the tree."""

    def children(self) -> Iterable[Child]:
        """List the processes."""

    def signal(self, fork_id: int, number: signal.Signals) -> None:
        """Send a signal to a process, unless it has exited."""


class Watchdog:
    """Watches every process of a tree."""

    def __init__(self, processes: HungProcesses) -> None:
        self._processes = processes
        #: By fork id: seconds without an answer; below zero, until it is asked again.
        self._silent: dict[int, float] = {}
        self._asked: dict[int, asyncio.Task[None]] = {}  # requests that have no reply yet
        self._last_tick: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch. Call it in the running loop."""
        self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._on_timer)

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
        for asked in self._asked.values():
            asked.cancel()

    def _on_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self.tick(loop.time())
        self._timer = loop.call_later(PERIOD_S, self._on_timer)

    def tick(self, now: float) -> None:
        """Ask each running process for a sign of life; kill those that were silent too long."""
        passed = 0.0 if self._last_tick is None else now - self._last_tick
        self._last_tick = now
        if passed > LATE_S:
            self._silent.clear()  # they had no more time to answer than the root had to ask
            passed = 0.0
        present = {child.fork_id: child for child in self._processes.children()}
        for fork_id in self._silent.keys() - present.keys():
            del self._silent[fork_id]
        for child in present.values():
            if child.state is ProcessState.RUNNING and child.peer is not None:
                self._watch(child, child.peer, passed)

    def _watch(self, child: Child, peer: Peer, passed: float) -> None:
        fork_id, limit = child.fork_id, child.role.silence_s
        before = self._silent.get(fork_id, 0.0)
        silent = self._silent[fork_id] = before + passed
        if fork_id in self._asked:
            if before < limit <= silent:
                self._kill(child)
        elif silent >= 0.0:
            self._silent[fork_id] = 0.0
            self._asked[fork_id] = asyncio.create_task(self._ask(peer, fork_id, limit))

    async def _ask(self, peer: Peer, fork_id: int, silence_s: float) -> None:
        try:
            with contextlib.suppress(BusError):  # its end is noticed elsewhere
                # Twice, so that `tick` decides: it knows whether the root itself was held up.
                await peer.call(SignOfLife(), deadline_s=2 * silence_s)
                self._silent[fork_id] = -REST_S
        finally:
            del self._asked[fork_id]

    def _kill(self, child: Child) -> None:
        log.error(
            "%s (pid %d) gives no sign of life for %.0f s and is killed; the stacks of its threads "
            "are on standard error, unless it is stopped",
            child.name,
            child.pid,
            child.role.silence_s,
        )
        self._processes.signal(child.fork_id, signal.SIGUSR2)
        loop = asyncio.get_running_loop()
        loop.call_later(DUMP_S, self._processes.signal, child.fork_id, signal.SIGKILL)
