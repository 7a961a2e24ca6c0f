"""A grown worker hands its guest over to a fresh one, which misses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventStoppedDetailType, DomainShutoffReason, DomainState
from supervisor.messages.child import HandOver
from supervisor.messages.worker import Destroy, Resume, Suspend, WorkerGrown
from supervisor.workers.qemu import handover, worker
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.handover import is_idle
from supervisor.workers.qemu.start.reconnect import watch
from tests.unit.workers.qemu.worker_under_test import WorkerTree, tree_of, until


async def test_an_event_between_two_workers_is_not_missed(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            started = await tree.start()
            inherited = await tree.hand_over()
            assert inherited is not None
            os.kill(started.pid, signal.SIGUSR1)
        before = tree.commands()
        async with tree.run_worker(inherited):
            reported = (await tree.status()).guest
            assert reported is not None
            assert (reported.pid, reported.live_xml) == (started.pid, started.live_xml)
            await until(lambda: tree.states[-1:] == [DomainState.PAUSED])
            assert tree.commands() == before  # it neither greets nor asks again
            await tree.worker.call(Resume())
            await tree.worker.call(Suspend())
            await tree.worker.call(Destroy(graceful=False))
        assert tree.leftovers() == []
    finally:
        tree.close()


async def test_why_a_guest_ended_between_two_workers_is_known(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            started = await tree.start()
            inherited = await tree.hand_over()
        os.kill(started.pid, signal.SIGTERM)  # it says so, and exits
        await until(lambda: not tree.qemu_pids())
        async with tree.run_worker(inherited):
            async with asyncio.timeout(10):
                while (shutoff := (await tree.status()).shutoff) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert shutoff.reason == DomainShutoffReason.SHUTDOWN
            assert shutoff.detail == DomainEventStoppedDetailType.SHUTDOWN
    finally:
        tree.close()


async def test_a_guest_that_ends_before_its_worker_is_stopped_is_reported_by_it(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        started = await tree.start()
        assert await tree.hand_over() is not None
        os.kill(started.pid, signal.SIGTERM)
        await until(lambda: bool(tree.stopped))
        assert tree.stopped[0].detail == DomainEventStoppedDetailType.SHUTDOWN


async def test_a_worker_that_is_not_replaced_goes_on(
    tmp_path: Path, emulator_facts: EmulatorFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "HANDOVER_S", 0.05)
    async with tree_of(tmp_path, emulator_facts) as tree:
        started = await tree.start()
        inherited = await tree.hand_over()
        assert inherited is not None
        inherited.close()
        os.kill(started.pid, signal.SIGUSR1)
        await until(lambda: tree.states[-1:] == [DomainState.PAUSED])


async def test_a_command_takes_a_handed_over_monitor_back(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        assert await tree.hand_over() is not None
        await tree.worker.call(Suspend())


BUSY: dict[str, Callable[[Guest], object]] = {
    "a console": lambda guest: setattr(guest, "sessions", 1),
    "a task": lambda guest: guest.run(asyncio.sleep(60)),
    "a device that is unplugged": lambda guest: guest.unplugged.update(x=asyncio.Future()),
    "a disk error": lambda guest: guest.disk_errors.update(x=True),
    "an end": lambda guest: setattr(guest.status, "ending", 1),
    "a job": lambda guest: setattr(guest.status, "resume_after_job", "x"),
    "a lost monitor": lambda guest: guest.close_monitor(),
}


@pytest.mark.parametrize("what", BUSY)
async def test_a_guest_with_something_under_way_is_not_handed_over(
    tmp_path: Path, emulator_facts: EmulatorFacts, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    guests: list[Guest] = []

    def remember(guest: Guest) -> None:
        guests.append(guest)
        watch(guest)

    monkeypatch.setattr("supervisor.workers.qemu.worker.watch", remember)
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        assert is_idle(guests[0])
        BUSY[what](guests[0])
        assert await tree.hand_over() is None


async def test_only_the_root_is_given_a_guest(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        reply = await tree.worker.call(HandOver())
        assert reply.inheritance is None


async def test_an_idle_worker_that_has_grown_says_so(
    tmp_path: Path, emulator_facts: EmulatorFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "AFTER_START_S", 0.05)
    tree = WorkerTree(tmp_path, emulator_facts)
    grown: list[WorkerGrown] = []
    tree.domd.subscribe(f"qemu:{tree.name}", WorkerGrown, grown.append)
    try:
        async with tree.run_worker():
            started = await tree.start()
            await until(lambda: bool(grown))
            assert grown[0].uuid == started.uuid
    finally:
        tree.close()
