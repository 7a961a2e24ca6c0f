"""Vcpus, iothreads and the balloon of a running guest, against a QEMU that does as a test says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, VirError
from supervisor.messages.worker import DomainStatus, Start
from supervisor.messages.worker_resources import (
    AddIothread,
    PinThreads,
    RemoveIothread,
    SetBalloon,
    SetIothread,
    SetVcpuCount,
    SetVcpus,
    Threads,
)
from supervisor.workers.qemu.hotplug import unplug
from tests.unit.workers.qemu.worker_under_test import Script, WorkerTree, tree_of, until

REFUSAL = {"error": "GenericError"}
SLOTS = [
    {"type": "qemu64-x86_64-cpu", "vcpus-count": 1, "props": {"socket-id": n, "core-id": 0}}
    for n in (3, 2, 1, 0)
]


def cpus(*numbers: int) -> list[dict[str, object]]:
    """QEMU's vcpus; its only thread stands for theirs."""
    return [{"cpu-index": number, "thread-id": "own"} for number in numbers]


def with_vcpus(*numbers: int, more: Script | None = None) -> Script:
    return {
        "query-hotpluggable-cpus": [{"return": SLOTS}],
        "query-cpus-fast": [{"return": cpus(*numbers)}],
        **(more or {}),
    }


async def start(tree: WorkerTree, vcpu: str = "current='2'>4") -> DomainStatus:
    xml = tree.xml().replace("<vcpu placement='static'>1<", f"<vcpu placement='static' {vcpu}<")
    return await tree.worker.call(Start(xml=xml, id=1))


def released(number: int) -> dict[str, object]:
    return {"event": "DEVICE_DELETED", "data": {"device": f"vcpu{number}", "path": "/x"}}


async def test_a_plugged_vcpu_is_in_the_xml_and_can_be_unplugged_again(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script(with_vcpus(0, 1))
        await start(tree)
        tree.script(with_vcpus(0, 1, 2))
        status = await tree.worker.call(SetVcpuCount(count=3))
        assert "current='3'>4</vcpu>" in status.live_xml
        assert "<vcpu id='2' enabled='yes' hotpluggable='yes' order='3'/>" in status.live_xml
        tree.script(with_vcpus(0, 1, more={"device_del": [released(2)]}))
        status = await tree.worker.call(SetVcpuCount(count=2))
        assert "<vcpu id='2' enabled='no' hotpluggable='yes'/>" in status.live_xml
        assert tree.commands()[-2:] == ["device_del", "query-cpus-fast"]


async def test_a_vcpu_that_the_guest_keeps_is_an_error_in_time_and_its_late_release_is_seen(
    tmp_path: Path, emulator_facts: EmulatorFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unplug, "UNPLUG_S", 0.05)
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script(with_vcpus(0, 1))
        await start(tree)
        tree.script(with_vcpus(0, 1, 2))
        await tree.worker.call(SetVcpus(numbers=[2], enabled=True))
        with pytest.raises(VirError, match="vcpu unplug request timed out") as late:
            await tree.worker.call(SetVcpus(numbers=[2], enabled=False))
        assert late.value.code is ErrorCode.OPERATION_TIMEOUT
        guest = (await tree.status()).guest
        assert guest is not None
        assert "<vcpu id='2' enabled='yes'" in guest.live_xml
        changes = len(tree.states)
        tree.script(with_vcpus(0, 1, more={"query-iothreads": [released(2)]}))
        with pytest.raises(VirError):  # QEMU tells of the release when it is asked something
            await tree.worker.call(PinThreads(threads=Threads.IOTHREAD, number=1, cpuset="0"))
        await until(lambda: len(tree.states) > changes)
        guest = (await tree.status()).guest
        assert guest is not None
        assert "<vcpu id='2' enabled='no'" in guest.live_xml


async def test_a_guest_that_refuses_to_release_a_vcpu_is_no_time_out(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    refused = {"event": "DEVICE_UNPLUG_GUEST_ERROR", "data": {"device": "vcpu2", "path": "/x"}}
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script(with_vcpus(0, 1))
        await start(tree)
        tree.script(with_vcpus(0, 1, 2, more={"device_del": [refused]}))
        await tree.worker.call(SetVcpuCount(count=3))
        with pytest.raises(VirError, match="unplug of device was rejected by the guest") as error:
            await tree.worker.call(SetVcpuCount(count=2))
        assert error.value.code is ErrorCode.OPERATION_FAILED
        kinds = [event.event_id for event in tree.forwarded]
        assert DomainEventID.DEVICE_REMOVAL_FAILED in kinds


async def test_a_vcpu_that_qemu_refuses_changes_nothing(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script(with_vcpus(0, 1, more={"device_add": [REFUSAL]}))
        started = await start(tree)
        with pytest.raises(VirError, match="fake refusal"):
            await tree.worker.call(SetVcpuCount(count=4))
        guest = (await tree.status()).guest
        assert guest is not None
        assert guest.live_xml == started.live_xml


async def test_a_vcpu_that_was_plugged_as_the_worker_died_is_in_the_next_ones_xml(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        tree.script(with_vcpus(0, 1))
        async with tree.run_worker():
            await start(tree)
        iothreads = [{"id": "iothread4", "thread-id": "own"}]
        tree.script(with_vcpus(0, 1, 3, more={"query-iothreads": [{"return": iothreads}]}))
        async with tree.run_worker():
            guest = (await tree.status()).guest
            assert guest is not None
            assert "<vcpu id='3' enabled='yes' hotpluggable='yes' order='3'/>" in guest.live_xml
            assert "<iothread id='4'/>" in guest.live_xml
    finally:
        tree.close()


async def test_a_pin_is_the_threads_and_the_events(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    one = min(os.sched_getaffinity(0))
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script(with_vcpus(0, 1))
        await start(tree)
        request = PinThreads(threads=Threads.VCPU, number=1, cpuset=str(one))
        status = await tree.worker.call(request)
        (qemu,) = tree.qemu_pids()
        assert os.sched_getaffinity(qemu) == {one}
        assert f"<vcpupin vcpu='1' cpuset='{one}'/>" in status.live_xml
        await until(lambda: bool(tree.forwarded))
        assert tree.forwarded[-1].event_id == DomainEventID.TUNABLE
        absent = PinThreads(threads=Threads.VCPU, number=1, cpuset="900")
        with pytest.raises(VirError, match="cannot set CPU affinity") as refused:
            await tree.worker.call(absent)
        assert refused.value.code is ErrorCode.SYSTEM_ERROR
        with pytest.raises(VirError, match="vcpu 4 is out of range of live cpu count 4"):
            await tree.worker.call(PinThreads(threads=Threads.VCPU, number=4, cpuset="0"))
        with pytest.raises(VirError, match="for the live domain: 5 > 4"):
            await tree.worker.call(SetVcpuCount(count=5))
        with pytest.raises(VirError, match="vcpu 4 is not present in live config"):
            await tree.worker.call(SetVcpus(numbers=[4], enabled=True))
        later = PinThreads(threads=Threads.VCPU, number=3, cpuset="900")
        status = await tree.worker.call(later)  # it has no thread yet
        assert "<vcpupin vcpu='3' cpuset='900'/>" in status.live_xml


async def test_an_iothread_that_qemu_refuses_to_tune_keeps_its_xml(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script({"query-iothreads": [{"return": [{"id": "mine", "thread-id": 1}]}]})
        await tree.start()
        status = await tree.worker.call(AddIothread(id=2))
        assert "<iothread id='2'/>" in status.live_xml
        with pytest.raises(VirError, match="already using iothread_id '2'"):
            await tree.worker.call(AddIothread(id=2))
        tree.script({"qom-set": [REFUSAL]})
        with pytest.raises(VirError, match="fake refusal"):
            await tree.worker.call(SetIothread(id=2, thread_pool_min=1))
        tree.script({})
        status = await tree.worker.call(SetIothread(id=2, thread_pool_max=8))
        assert "<iothread id='2' thread_pool_max='8'/>" in status.live_xml
        status = await tree.worker.call(RemoveIothread(id=2))
        assert "<iothread" not in status.live_xml


async def test_a_guest_without_a_balloon_keeps_its_memory(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        with pytest.raises(VirError, match="without the balloon device") as refused:
            await tree.worker.call(SetBalloon(kib=1024))
        assert refused.value.code is ErrorCode.OPERATION_INVALID
        assert "balloon" not in tree.commands()
