"""A worker starts its domain: whatever fails on the way, nothing is left behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID, DomainEventType, DomainShutoffReason, DomainState
from rpc.errors import ErrorCode, VirError
from supervisor.messages.hostd import CpuidWord, DescribeLiveCpu, ProbeEmulator
from supervisor.messages.netd import AttachPort
from supervisor.messages.worker import Destroy, Resume, Shutdown, Suspend
from supervisor.workers.qemu.start import start as start_module
from tests.unit.workers.qemu.worker_under_test import INTERFACE, Script, tree_of, until

GREETING_S = 1.0


def own_groups() -> str:
    return Path("/proc/thread-self/cgroup").read_text()


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_started_domain_runs_and_is_destroyed(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        status = await tree.start(INTERFACE)
        assert status.state == DomainState.RUNNING
        assert "<target dev='vnet7'/>" in status.live_xml
        assert tree.qemu_pids() == [status.pid]
        assert tree.commands()[0] == "qmp_capabilities"
        assert tree.commands()[-1] == "cont"
        await tree.worker.call(Destroy(graceful=False))
        assert tree.leftovers() == []
        (stopped,) = tree.stopped
        assert stopped.reason == DomainShutoffReason.DESTROYED
        assert tree.states[-1] == DomainState.SHUTDOWN  # with its event, before STOPPED
        assert (await tree.status()).guest is None


async def test_a_domain_that_is_started_paused_does_not_run(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        status = await tree.start(paused=True)
        assert status.state == DomainState.PAUSED
        assert "cont" not in tree.commands()
        await tree.worker.call(Resume())
        assert tree.states[-1] == DomainState.RUNNING


#: The thread is this process's: nothing may be done to it.
CPUS = [{"cpu-index": 0, "thread-id": os.getpid(), "qom-path": "/machine/cpu"}]
WORDS = [{"cpuid-input-eax": 1, "cpuid-register": "ECX", "features": 5}]
CPU_SCRIPT: Script = {
    "query-cpus-fast": [{"return": CPUS}],
    "qom-get": [{"return": WORDS}],
}


async def test_a_thread_that_is_not_qemus_is_left_where_it_is(
    tmp_path: Path, emulator_facts: EmulatorFacts, caplog: pytest.LogCaptureFixture
) -> None:
    before = own_groups()
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script(CPU_SCRIPT)
        await tree.start()
        assert own_groups() == before
    assert f"QEMU names threads that are not its own: [{os.getpid()}]" in caplog.text


async def test_the_live_cpu_is_qemus_and_the_former_one_is_kept(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script(CPU_SCRIPT)
        status = await tree.start()
        assert tree.described[0].enabled == [CpuidWord(leaf=1, subleaf=0, register="ecx", bits=5)]
        assert "<feature policy='require' name='hypervisor'/>" in status.live_xml
        assert "hypervisor" not in status.original_cpu
        assert "<model fallback='forbid'>qemu64</model>" in status.original_cpu


async def test_a_cpu_that_is_not_as_the_domain_wants_it_ends_the_start(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script(CPU_SCRIPT)
        tree.failing.add(DescribeLiveCpu)
        with pytest.raises(VirError):
            await tree.start()
        assert tree.leftovers() == []


FAILURES: dict[str, Script] = {
    "QEMU dies as it is executed": {"exec": ["die"]},
    "QEMU dies before it greets": {"greet": ["die"]},
    "QEMU hangs before it greets": {"greet": ["silent"]},
    "QEMU greets with garbage": {"greet": ["garbage"]},
    "QEMU closes the monitor": {"greet": ["close"]},
    "QEMU dies at qmp_capabilities": {"qmp_capabilities": ["die"]},
    "QEMU hangs at qmp_capabilities": {"qmp_capabilities": ["silent"]},
    "QEMU refuses qmp_capabilities": {"qmp_capabilities": [{"error": "GenericError"}]},
    "QEMU dies as it is set up": {"query-chardev": ["die"]},
    "QEMU closes the monitor as it is set up": {"query-chardev": ["close"]},
    "QEMU refuses a query": {"query-chardev": [{"error": "CommandNotFound"}]},
    "a reply has another type": {"query-chardev": [{"return": "text"}]},
    "a reply lacks a member": {"query-chardev": [{"return": [{"filename": "pty:/dev/pts/1"}]}]},
    "a reply is no JSON": {"query-chardev": ["garbage"]},
    "QEMU dies at cont": {"cont": ["die"]},
    "QEMU refuses cont": {"cont": [{"error": "GenericError"}]},
    "garbage comes in place of cont's reply": {"cont": ["garbage"]},
    "QEMU hangs at cont": {"cont": ["silent"]},
}


@pytest.mark.parametrize("script", FAILURES.values(), ids=FAILURES.keys())
async def test_a_start_that_fails_in_qemu_leaves_nothing_behind(
    script: Script,
    tmp_path: Path,
    emulator_facts: EmulatorFacts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start(INTERFACE)
        await tree.worker.call(Destroy(graceful=False))
        before = open_fds()
        tree.script(script)
        with monkeypatch.context() as patch:
            patch.setattr(start_module, "MONITOR_S", GREETING_S)
            with pytest.raises(VirError):
                await tree.start(INTERFACE)
        assert tree.leftovers() == []
        assert (await tree.status()).guest is None
        await until(lambda: open_fds() <= before)
        tree.script({})
        assert (await tree.start(INTERFACE)).state == DomainState.RUNNING


async def test_the_error_of_a_qemu_that_died_has_its_output(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script({"exec": ["die"]})
        with pytest.raises(VirError, match="fake QEMU dies at exec") as failed:
            await tree.start()
        assert failed.value.code is ErrorCode.INTERNAL_ERROR


@pytest.mark.parametrize("message", [ProbeEmulator, AttachPort])
async def test_a_start_that_a_service_refuses_leaves_nothing_behind(
    message: type, tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.failing.add(message)
        with pytest.raises(VirError, match="refused by the test"):
            await tree.start(INTERFACE)
        assert tree.leftovers() == []
        assert tree.commands() == []
        tree.failing.clear()
        await tree.start(INTERFACE)


@pytest.mark.parametrize("operation", ["prepare", "start", "started"])
async def test_a_start_that_fails_runs_the_hooks_of_a_stop(
    operation: str, tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        record = tmp_path / "hooks"
        tree.hook(operation)
        script = tree.paths.hook("qemu")
        script.write_text(script.read_text().replace("\n", f"\necho $2 $3 >>{record}\n", 1))
        with pytest.raises(VirError):
            await tree.start()
        assert record.read_text().splitlines()[-2:] == ["stopped end", "release end"]


@pytest.mark.parametrize("operation", ["prepare", "start", "started"])
async def test_a_start_that_a_hook_refuses_leaves_nothing_behind(
    operation: str, tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.hook(operation)
        with pytest.raises(VirError) as refused:
            await tree.start(INTERFACE)
        assert refused.value.code is ErrorCode.HOOK_SCRIPT_FAILED
        assert tree.leftovers() == []


async def test_a_binary_that_cannot_be_executed_leaves_nothing_behind(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.binary.write_text("#!/nonexistent/interpreter\n")
        with pytest.raises(VirError, match="cannot execute binary"):
            await tree.start(INTERFACE)
        assert tree.leftovers() == []


async def test_a_second_start_is_refused_and_the_first_runs_on(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        first, second = await asyncio.gather(tree.start(), tree.start(), return_exceptions=True)
        refused = second if isinstance(second, BaseException) else first
        assert isinstance(refused, VirError)
        assert refused.code is ErrorCode.OPERATION_INVALID
        assert len(tree.qemu_pids()) == 1


async def test_events_before_and_between_replies_change_the_state_in_their_order(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script(
            {
                "qmp_capabilities": [{"event": "RESUME"}, {"event": "DEVICE_DELETED"}],
                "cont": [{"event": "STOP"}, {"event": "RTC_CHANGE", "data": {"offset": "x"}}],
            }
        )
        status = await tree.start()
        assert status.state == DomainState.RUNNING
        tree.script({"stop": [{"event": "RESUME"}, {"event": "STOP"}]})
        await tree.worker.call(Suspend())
        assert tree.states[-1] == DomainState.PAUSED
        await tree.worker.call(Resume())
        assert tree.states[-1] == DomainState.RUNNING
        names = [event.name for event in tree.forwarded if event.family == "qemu_monitor"]
        assert "RTC_CHANGE" in names  # one with malformed data is forwarded all the same


async def test_an_io_error_that_names_only_a_node_is_published_for_its_disk(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(512))
    disk = (
        f"<disk type='file' device='disk'><driver type='raw'/><source file='{image}'/>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start(disk)
        # as QEMU 7.2 sends it for a -blockdev: no device, no qom-path
        data = {"device": "", "node-name": "libvirt-1-format", "action": "stop", "nospace": True}
        tree.script({"stop": [{"event": "BLOCK_IO_ERROR", "data": data}]})
        await tree.worker.call(Suspend())
        payloads = [
            event.payload
            for event in tree.forwarded
            if event.event_id == DomainEventID.IO_ERROR_REASON
        ]
        assert len(payloads) == 1
        assert str(image).encode() in payloads[0]
        assert b"virtio-disk0" in payloads[0]


async def test_a_guest_that_powers_off_is_cleaned_up(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start(INTERFACE)
        event = {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}}
        tree.script({"system_powerdown": [event]})
        await tree.worker.call(Shutdown(flags=0))
        await until(lambda: bool(tree.stopped))
        assert tree.stopped[0].reason == DomainShutoffReason.SHUTDOWN
        assert [event for event, _ in tree.lifecycle][-2:] == [
            DomainEventType.SHUTDOWN,
            DomainEventType.STOPPED,
        ]
        assert tree.leftovers() == []


async def test_a_qemu_that_dies_while_it_runs_is_a_crash(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        status = await tree.start(INTERFACE)
        os.kill(status.pid, 9)
        await until(lambda: bool(tree.stopped))
        assert tree.stopped[0].reason == DomainShutoffReason.CRASHED
        assert tree.leftovers() == []
        assert (await tree.start()).state == DomainState.RUNNING


async def test_a_qemu_that_hangs_is_destroyed_all_the_same(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        tree.script({"stop": ["silent"]})
        suspending = asyncio.create_task(tree.worker.call(Suspend()))
        await until(lambda: "stop" in tree.commands())
        await tree.worker.call(Destroy(graceful=False))
        with pytest.raises(VirError):
            await suspending
        assert tree.leftovers() == []
