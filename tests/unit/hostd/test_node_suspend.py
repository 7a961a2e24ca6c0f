"""The host is put to sleep by its programs; here they are the test's, and nothing sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from rpc.enums import NodeSuspendTarget as Target
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.hostd.calls.node_suspend import NodeSuspendCalls
from supervisor.messages.calls import Client, Identity
from supervisor.runtime.subprocesses import CompletedProgram

CALL = ClientCall(
    Client(id="1", identity=Identity(), read_only=False, uri="qemu:///system", driver="qemu")
)
WAIT_S = 5.0


class Programs:
    """The host's programs, which only note that they were run."""

    def __init__(self, *, alarm_code: int = 0) -> None:
        self.ran: list[tuple[str, ...]] = []
        self.suspended = asyncio.Event()
        self.awake = asyncio.Event()  # lets the suspending program end
        self._alarm_code = alarm_code

    async def run(self, argv: Sequence[str], deadline_s: float) -> CompletedProgram:
        self.ran.append(tuple(argv))
        if argv[0] == "rtcwake":
            return CompletedProgram(self._alarm_code, "", "no alarm")
        self.suspended.set()
        await self.awake.wait()
        return CompletedProgram(0, "", "")


def calls_of(folder: Path, states: str, programs: Programs) -> NodeSuspendCalls:
    path = folder / "state"
    path.write_text(states)
    return NodeSuspendCalls(path, programs.run, delay_s=0)


async def test_the_alarm_is_set_before_the_host_sleeps_and_once_at_a_time(tmp_path: Path) -> None:
    programs = Programs()
    calls = calls_of(tmp_path, "freeze mem disk\n", programs)
    await calls.node_suspend_for_duration(CALL, Target.DISK, 90, 0)
    async with asyncio.timeout(WAIT_S):
        await programs.suspended.wait()
    assert programs.ran[0] == ("rtcwake", "-m", "no", "-s", "90")
    assert programs.ran[1][-1].endswith("hibernate")
    with pytest.raises(VirError, match="already in progress") as refused:
        await calls.node_suspend_for_duration(CALL, Target.DISK, 90, 0)
    assert refused.value.code is ErrorCode.OPERATION_INVALID
    programs.awake.set()


@pytest.mark.parametrize(
    ("target", "duration", "flags", "code"),
    [
        (Target.DISK, 60, 0, ErrorCode.ARGUMENT_UNSUPPORTED),
        (Target.HYBRID, 60, 0, ErrorCode.ARGUMENT_UNSUPPORTED),
        (Target.MEM, 59, 0, ErrorCode.INVALID_ARG),
        (9, 60, 0, ErrorCode.INVALID_ARG),
        (Target.MEM, 60, 1, ErrorCode.INVALID_ARG),
    ],
)
async def test_what_the_host_cannot_do_is_refused(
    tmp_path: Path, target: int, duration: int, flags: int, code: ErrorCode
) -> None:
    programs = Programs()
    calls = calls_of(tmp_path, "freeze mem\n", programs)
    with pytest.raises(VirError) as refused:
        await calls.node_suspend_for_duration(CALL, target, duration, flags)
    assert refused.value.code is code
    assert programs.ran == []


async def test_a_host_whose_clock_does_not_wake_it_stays_awake(tmp_path: Path) -> None:
    programs = Programs(alarm_code=1)
    calls = calls_of(tmp_path, "mem", programs)
    for _ in range(2):  # the first refusal leaves nothing under way
        with pytest.raises(VirError, match="no alarm"):
            await calls.node_suspend_for_duration(CALL, Target.MEM, 60, 0)
        await asyncio.sleep(0)
    assert not programs.suspended.is_set()
