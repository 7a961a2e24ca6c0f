"""The watchdog: who is taken for hung, and who is not."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field, replace

from ipc import Ack
from supervisor.messages.child import SignOfLife
from supervisor.messages.root import ProcessState
from supervisor.root.child import Child
from supervisor.root.roles import SHARED_SERVICES
from supervisor.root.watchdog import DUMP_S, REST_S, Watchdog

SILENCE_S = 10.0


class FakePeer:
    """A process's end: it answers, or it is silent."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()

    async def call(self, request: SignOfLife, *, deadline_s: float) -> Ack:
        self.asked += 1
        await self.answers.wait()
        return Ack()


@dataclass
class Processes:
    """A tree of one process."""

    peer: FakePeer = field(default_factory=FakePeer)
    state: ProcessState = ProcessState.RUNNING
    signals: list[int] = field(default_factory=list)

    def children(self) -> list[Child]:
        role = replace(SHARED_SERVICES[0], silence_s=SILENCE_S)
        return [Child(role, "hostd", state=self.state, fork_id=7, peer=self.peer)]  # type: ignore[arg-type]

    def signal(self, fork_id: int, number: signal.Signals) -> None:
        assert fork_id == 7
        self.signals.append(number)


async def run_for(watchdog: Watchdog, seconds: int, start: int = 0) -> int:
    """Tick once a second of the test's own time."""
    for second in range(start, start + seconds):
        watchdog.tick(float(second))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return start + seconds


async def test_a_silent_process_is_asked_for_its_stacks_and_killed() -> None:
    processes = Processes()
    watchdog = Watchdog(processes)
    now = await run_for(watchdog, int(SILENCE_S))
    assert processes.signals == []
    await run_for(watchdog, 2, now)
    assert processes.signals == [signal.SIGUSR2]
    await asyncio.sleep(2 * DUMP_S)  # the loop's own timer
    assert processes.signals == [signal.SIGUSR2, signal.SIGKILL]
    watchdog.stop()


async def test_a_process_that_answers_lives_and_is_left_in_peace() -> None:
    processes = Processes()
    processes.peer.answers.set()
    watchdog = Watchdog(processes)
    await run_for(watchdog, 60)
    assert processes.signals == []
    assert processes.peer.asked <= 60 / REST_S
    watchdog.stop()


async def test_a_late_answer_counts() -> None:
    processes = Processes()
    watchdog = Watchdog(processes)
    now = await run_for(watchdog, 9)
    processes.peer.answers.set()
    now = await run_for(watchdog, 2, now)
    processes.peer.answers.clear()
    await run_for(watchdog, 11, now)
    assert processes.signals == []
    watchdog.stop()


async def test_nobody_is_blamed_for_the_time_that_the_root_itself_was_held_up() -> None:
    processes = Processes()
    watchdog = Watchdog(processes)
    now = await run_for(watchdog, 5)
    now = await run_for(watchdog, 6, now + 3600)  # the host was suspended for an hour
    assert processes.signals == []
    watchdog.stop()


async def test_a_process_that_starts_or_stops_is_not_watched() -> None:
    for state in (ProcessState.STARTING, ProcessState.STOPPING, ProcessState.DEGRADED):
        processes = Processes(state=state)
        watchdog = Watchdog(processes)
        await run_for(watchdog, 30)
        assert (processes.peer.asked, processes.signals) == (0, [])
        watchdog.stop()
