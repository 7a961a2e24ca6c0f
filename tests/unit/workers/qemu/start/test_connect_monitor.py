"""Why a QEMU that was just spawned does not greet is said: it exited, hung up, or is slow."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.monitor import Monitor
from supervisor.workers.qemu.start.monitor_setup import connect_monitor

GREETING_S = 0.05


class Process:
    """A process that has exited, or never does."""

    def __init__(self, *, exits: bool) -> None:
        self.exited = exits

    async def wait_exit(self, timeout_s: float) -> bool:
        """Wait for it."""
        if not self.exited:
            await asyncio.sleep(timeout_s)
        return self.exited


class Starting:
    """What is there of a guest before QEMU greets."""

    def __init__(self, folder: Path, *, exits: bool) -> None:
        self.domain_dir = folder
        self.process = Process(exits=exits)

    def open_monitor(self, end: socket.socket) -> Monitor:
        """Make the monitor."""
        return Monitor(end, "web", lambda _: None, lambda _: None)


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which QEMU would greet."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "monitor.sock"))
        server.listen(4)
        yield server


async def refusal(folder: Path, *, exits: bool) -> VirError:
    """Connect to a QEMU that does not greet."""

    async def output() -> str:
        return "no such machine" if exits else ""

    guest = cast("Guest", Starting(folder, exits=exits))
    with pytest.raises(VirError) as refused:
        await connect_monitor(guest, output, GREETING_S)
    return refused.value


async def test_one_that_is_slow_has_a_deadline(tmp_path: Path, listening: socket.socket) -> None:
    error = await refusal(tmp_path, exits=False)
    assert error.code is ErrorCode.OPERATION_TIMEOUT
    assert "did not reply to greet" in error.message


async def test_one_that_exited_says_why(tmp_path: Path, listening: socket.socket) -> None:
    error = await refusal(tmp_path, exits=True)
    assert "process exited while connecting to monitor: no such machine" in error.message


async def test_one_that_hangs_up_is_no_longer_waited_for(
    tmp_path: Path, listening: socket.socket
) -> None:
    task = asyncio.create_task(refusal(tmp_path, exits=False))
    loop = asyncio.get_running_loop()
    listening.setblocking(False)
    end, _ = await loop.sock_accept(listening)
    end.close()
    assert "QEMU closed its monitor" in (await task).message
