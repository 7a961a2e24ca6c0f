"""A worker reconnects to the domain of one that ended, or cleans up what that one left."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from conf.emulator import EmulatorFacts
from rpc.enums import DomainShutoffReason, DomainState
from supervisor.messages.worker import Destroy, Resume, Suspend
from supervisor.objects.domain_status_xml import read_status, write_status
from tests.unit.workers.qemu.worker_under_test import INTERFACE, WorkerTree, until


async def test_a_running_domain_outlives_its_worker(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            started = await tree.start(INTERFACE)
        assert tree.qemu_pids() == [started.pid]
        async with tree.run_worker():
            guest = (await tree.status()).guest
            assert guest is not None
            assert (guest.pid, guest.state) == (started.pid, DomainState.RUNNING)
            assert guest.live_xml == started.live_xml
            await tree.worker.call(Suspend())
            await tree.worker.call(Destroy(graceful=False))
        assert tree.leftovers() == []
    finally:
        tree.close()


async def test_what_changed_without_a_worker_is_found_by_the_next(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            await tree.start()
        tree.script({"query-status": [{"return": {"status": "io-error", "running": False}}]})
        async with tree.run_worker():
            guest = (await tree.status()).guest
            assert guest is not None
            assert guest.state == DomainState.PAUSED
            await tree.worker.call(Resume())
    finally:
        tree.close()


async def test_a_domain_that_ended_without_a_worker_is_cleaned_up_with_its_reason(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            started = await tree.start(INTERFACE)
        os.kill(started.pid, 9)
        await until(lambda: not tree.qemu_pids())
        async with tree.run_worker():
            status = await tree.status()
            assert status.guest is None
            assert status.shutoff is not None
            assert status.shutoff.reason == DomainShutoffReason.CRASHED
            assert tree.leftovers() == []
            assert (await tree.start(INTERFACE)).state == DomainState.RUNNING
    finally:
        tree.close()


async def test_a_start_that_its_worker_did_not_finish_is_undone(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            await tree.start(INTERFACE)
        path = tree.paths.status(tree.name)
        stored = read_status(path)
        assert stored is not None
        status, xml = stored
        status.pid = 0  # as it is before the process is recorded
        write_status(path, status, xml)
        async with tree.run_worker():
            answer = await tree.status()
            assert answer.guest is None
            assert answer.shutoff is not None
            assert answer.shutoff.reason == DomainShutoffReason.FAILED
            assert tree.leftovers() == []
    finally:
        tree.close()


async def test_a_qemu_that_hangs_is_kept_as_it_was_and_can_be_destroyed(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            await tree.start()
        tree.script({"greet": ["silent"]})
        async with tree.run_worker():
            guest = (await tree.status()).guest
            assert guest is not None
            assert guest.state == DomainState.RUNNING
            await tree.worker.call(Destroy(graceful=False))
            assert tree.leftovers() == []
    finally:
        tree.close()


async def test_what_happens_while_the_monitor_is_lost_is_found_when_it_is_back(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            await tree.start()
            tree.script({"stop": ["garbage"]})
            failed = await asyncio.gather(tree.worker.call(Suspend()), return_exceptions=True)
            assert isinstance(failed[0], Exception)
            tree.script({"query-status": [{"return": {"status": "paused", "running": False}}]})
            await until(lambda: tree.states[-1:] == [DomainState.PAUSED])
            await tree.worker.call(Resume())
            assert tree.states[-1] == DomainState.RUNNING
    finally:
        tree.close()
