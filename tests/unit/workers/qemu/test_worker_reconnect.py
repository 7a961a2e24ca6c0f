"""A worker reconnects to the domain of one that ended, or cleans up what that one left."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from conf.emulator import EmulatorFacts
from rpc.enums import DomainShutoffReason, DomainState
from rpc.errors import ErrorCode, VirError
from supervisor.messages.netd import AdoptPort
from supervisor.messages.worker import Destroy, Resume, Suspend
from supervisor.objects.domain_status_xml import read_status, write_status
from supervisor.runtime.procfs import start_time
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
        await until(lambda: start_time(started.pid) is None)  # its memory is gone before that
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


def forget_ours(path: Path) -> None:
    """Leave of a status file what libvirt's daemon writes, too."""
    text = path.read_text()
    start, end = text.index("  <virtvisor>"), text.index("<domain ")
    path.write_text(text[:start] + text[end:])


async def test_a_guest_of_libvirts_own_daemon_is_taken_over_and_driven(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            started = await tree.start(INTERFACE)
        path = tree.paths.status(tree.name)
        forget_ours(path)
        async with tree.run_worker():
            guest = (await tree.status()).guest
            assert guest is not None
            assert (guest.id, guest.pid) == (started.id, started.pid)
            assert guest.live_xml == started.live_xml
            assert ["dev='vnet7'" in interface for interface in tree.adopted] == [True]
            stored = read_status(path)
            assert stored is not None
            assert not stored[0].foreign
            assert stored[0].can_move
            await tree.worker.call(Suspend())
            await tree.worker.call(Destroy(graceful=False))
            assert tree.leftovers() == []
    finally:
        tree.close()


async def test_a_guest_whose_interface_netd_does_not_know_yet_is_taken_over_again(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            await tree.start(INTERFACE)
        forget_ours(tree.paths.status(tree.name))
        tree.failing.add(AdoptPort)
        async with tree.run_worker():
            assert (await tree.status()).guest is not None
            assert tree.adopted == []
        tree.failing.clear()
        async with tree.run_worker():
            assert (await tree.status()).guest is not None
            assert len(tree.adopted) == 1
    finally:
        tree.close()


async def test_a_guest_that_only_another_daemon_can_drive_is_neither_ended_nor_started_again(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            started = await tree.start()
        path = tree.paths.status(tree.name)
        path.write_text(f"<domstatus pid='{started.pid}'><unknown/></domstatus>")
        async with tree.run_worker():
            assert (await tree.status()).guest is None
            with pytest.raises(VirError, match=r"runs .* and is not managed") as refused:
                await tree.start()
            assert refused.value.code is ErrorCode.OPERATION_FAILED
        assert tree.qemu_pids() == [started.pid]
        assert "<unknown/>" in path.read_text()
        os.kill(started.pid, 9)
        await until(lambda: start_time(started.pid) is None)  # its memory is gone before that
        async with tree.run_worker():
            assert (await tree.start()).state == DomainState.RUNNING
    finally:
        tree.close()
