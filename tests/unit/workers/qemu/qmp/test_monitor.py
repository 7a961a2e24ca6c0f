"""The monitor of a QEMU that replies, hangs, dies or sends garbage."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.qmp.monitor import Monitor, QmpError, Query
from supervisor.workers.qemu.qmp.protocol import Message

PEER = Path(__file__).parents[1] / "qmp_peer.py"
SHORT_S = 0.2
LONG_S = 10.0


class Seen:
    """What the monitor has reported."""

    def __init__(self) -> None:
        self.events: list[Message] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()


def start(words: list[str], fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, pass_fds=[fd], stderr=subprocess.DEVNULL)


@asynccontextmanager
async def linked(mode: str, *, greet: bool = True) -> AsyncIterator[tuple[Monitor, Seen, int]]:
    ours, theirs = socket.socketpair()
    with theirs:
        words = [sys.executable, str(PEER), str(theirs.fileno()), mode]
        peer = start(words, theirs.fileno())
    seen = Seen()
    poke = os.dup(ours.fileno())
    monitor = Monitor(ours, "demo", seen.events.append, seen.lost.set_result)
    try:
        if greet:
            await monitor.greet(LONG_S)
        yield monitor, seen, poke
    finally:
        monitor.close()
        os.close(poke)
        peer.kill()
        peer.wait()


def live(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(bounded())


def test_commands_replies_errors_and_events() -> None:
    async def work() -> None:
        async with linked("honest") as (monitor, seen, _):
            assert await monitor.query("query-status", dict[str, str]) == {"did": "query-status"}
            with pytest.raises(QmpError, match="no such command") as refused:
                await monitor.execute("refuse")
            assert refused.value.error_class == "CommandNotFound"
            await monitor.execute("tell")
            assert [message.event for message in seen.events] == ["STOP", "RTC_CHANGE"]

    live(work)


def test_query_all_takes_one_round_trip_and_an_error_fails_only_its_query() -> None:
    async def work() -> None:
        async with linked("honest") as (monitor, _, _poke):
            queries = [Query(name, dict[str, str]) for name in ("a", "refuse", "b")]
            first, refusal, last = await monitor.query_all(queries)
            assert first == {"did": "a"}
            assert isinstance(refusal, QmpError)
            assert last == {"did": "b"}

    live(work)


def test_of_several_commands_those_that_are_executed_are_told_and_the_first_refusal_raised() -> (
    None
):
    async def work() -> None:
        async with linked("honest") as (monitor, _, _poke):
            done: list[int] = []
            names = ("a", "refuse", "b")
            with pytest.raises(QmpError, match="no such command"):
                await monitor.execute_all([(name, {}) for name in names], done.append)
            assert done == [0, 2]
            await monitor.execute_all([("a", {}), ("b", {})], done.append)
            assert done == [0, 2, 0, 1]
            assert monitor.is_quiet

    live(work)


def test_several_commands_have_one_deadline() -> None:
    async def work() -> None:
        async with linked("silent") as (monitor, _, _poke):
            done: list[int] = []
            with pytest.raises(VirError) as refused:
                await monitor.execute_all([("a", {}), ("b", {})], done.append, timeout_s=SHORT_S)
            assert refused.value.code is ErrorCode.OPERATION_TIMEOUT
            assert not done
            assert monitor.is_hung

    live(work)


def test_a_descriptor_is_sent_with_its_command_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_text("contents")

    async def work() -> None:
        async with linked("honest") as (monitor, _, _poke):
            with path.open() as file:
                await monitor.execute("getfd", {"fdname": "x"}, fd=file.fileno())
                assert not file.closed
                os.fstat(file.fileno())

    live(work)


def test_a_hung_qemu_fails_a_command_at_its_deadline_naming_the_domain() -> None:
    async def work() -> None:
        async with linked("silent") as (monitor, _, _poke):
            with pytest.raises(VirError, match="'demo' did not reply to query-status") as refused:
                await monitor.execute("query-status", timeout_s=SHORT_S)
            assert refused.value.code is ErrorCode.OPERATION_TIMEOUT
            assert monitor.is_hung

    live(work)


def test_greet_fails_at_its_deadline_without_a_greeting() -> None:
    async def work() -> None:
        async with linked("mute", greet=False) as (monitor, _, _poke):
            with pytest.raises(VirError) as refused:
                await monitor.greet(SHORT_S)
            assert refused.value.code is ErrorCode.OPERATION_TIMEOUT

    live(work)


def test_a_command_whose_deadline_passed_unsent_is_never_executed() -> None:
    async def work() -> None:
        async with linked("late") as (monitor, _, poke):
            for command in ("slow", "forgotten"):
                with pytest.raises(VirError):
                    await monitor.execute(command, timeout_s=SHORT_S)
            waiting = asyncio.create_task(monitor.query("wanted", dict[str, str], timeout_s=LONG_S))
            await asyncio.sleep(0)
            os.write(poke, b"!")  # QEMU continues and replies to the first command
            assert await waiting == {"heard": "wanted"}
            assert not monitor.is_hung

    live(work)


@pytest.mark.parametrize("mode", ["dying", "garbage", "endless", "deep"])
def test_a_qemu_that_dies_or_sends_garbage_fails_commands_at_once(mode: str) -> None:
    async def work() -> None:
        async with linked(mode) as (monitor, seen, _):
            with pytest.raises(VirError) as refused:
                await monitor.execute("query-status", timeout_s=LONG_S)
            assert refused.value.code is ErrorCode.OPERATION_FAILED
            assert await seen.lost
            with pytest.raises(VirError, match="is not connected"):
                await monitor.execute("query-status")

    live(work)


def test_a_reply_of_another_type_fails_only_its_query() -> None:
    async def work() -> None:
        async with linked("honest") as (monitor, _, _poke):
            with pytest.raises(VirError, match="malformed reply"):
                await monitor.query("query-status", list[int])
            await monitor.execute("stop")

    live(work)


def test_execute_raw_returns_the_reply_unchanged() -> None:
    async def work() -> None:
        async with linked("honest") as (monitor, _, _poke):
            raw = msgspec.Raw(b'{"execute": "refuse", "id": 99}')
            message = await monitor.execute_raw(raw, timeout_s=LONG_S)
            assert message.error is not None
            assert message.error.error_class == "CommandNotFound"

    live(work)
