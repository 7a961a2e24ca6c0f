"""A pool's own processes: asked, hung, killed, given up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ipc import Descriptor
from rpc.errors import ErrorCode, VirError
from supervisor.stord.pool_process.fork_server import ForkServer
from supervisor.stord.pool_process.main import run as run_helper
from supervisor.stord.pool_process.messages import (
    CheckDirectory,
    CreateRaw,
    Receive,
    Remove,
    Scan,
    Stat,
)
from supervisor.stord.pool_process.pool_process import (
    ATTEMPTS,
    MAX_DEDICATED,
    PoolProcessClient,
)

LIMIT_S = 20.0


def with_work(test: Callable[[PoolProcessClient], Awaitable[None]]) -> None:
    """Run a test with the processes of a pool "p", and end them all."""

    async def run() -> None:
        forker = ForkServer.start(run_helper)
        work = PoolProcessClient("p", forker)
        try:
            async with asyncio.timeout(LIMIT_S):
                await test(work)
        finally:
            work.release()
            forker.close()
            await asyncio.sleep(0)  # sockets are closed in the loop's next turn

    asyncio.run(run())


async def gone(pid: int) -> None:
    """Wait until a process that is none of our children has gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def test_a_question_is_answered_by_another_process(tmp_path: Path) -> None:
    async def test(work: PoolProcessClient) -> None:
        (tmp_path / "v").write_bytes(bytes(10))
        found = await work.call(Scan(directory=str(tmp_path)))
        assert [volume.name for volume in found.volumes] == ["v"]
        async with work.dedicated_process() as helper:
            assert helper.pid != os.getpid()

    with_work(test)


def test_the_kernels_refusal_comes_back_as_the_clients_error() -> None:
    async def test(work: PoolProcessClient) -> None:
        with pytest.raises(VirError, match="No such file") as refused:
            await work.call(CheckDirectory(path="/nowhere/at/all"))
        assert refused.value.code is ErrorCode.SYSTEM_ERROR

    with_work(test)


def test_a_process_that_hangs_is_given_up_and_replaced(tmp_path: Path) -> None:
    async def test(work: PoolProcessClient) -> None:
        await work.call(CheckDirectory(path=str(tmp_path)))
        first = work._helper
        assert first is not None
        os.kill(first.pid, signal.SIGSTOP)
        with pytest.raises(VirError, match="did not answer") as late:
            await work.call(CheckDirectory(path=str(tmp_path)), deadline_s=0.2)
        assert late.value.code is ErrorCode.OPERATION_TIMEOUT
        await work.call(CheckDirectory(path=str(tmp_path)))
        assert first.has_exited  # the kernel let it go: it was only stopped
        assert not work.is_hung

    with_work(test)


def test_a_request_that_changes_nothing_outlives_its_process(tmp_path: Path) -> None:
    async def test(work: PoolProcessClient) -> None:
        (tmp_path / "v").touch()
        await work.call(CheckDirectory(path=str(tmp_path)))
        first = work._helper
        assert first is not None
        os.kill(first.pid, signal.SIGSTOP)
        scan = asyncio.create_task(work.call(Scan(directory=str(tmp_path))))
        look = asyncio.create_task(work.call(Stat(directory=str(tmp_path), name="v")))
        removal = asyncio.create_task(work.call(Remove(directory=str(tmp_path), name="v")))
        await asyncio.sleep(0)
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(VirError, match="ended before it replied"):
            await removal
        assert [volume.name for volume in (await scan).volumes] == ["v"]
        assert (await look).name == "v"

    with_work(test)


def test_what_dies_each_time_is_given_up(tmp_path: Path) -> None:
    def die(connection: socket.socket) -> None:
        connection.recv(1)
        (tmp_path / str(os.getpid())).touch()

    async def run() -> None:
        forker = ForkServer.start(die)
        work = PoolProcessClient("p", forker)
        try:
            async with asyncio.timeout(LIMIT_S):
                with pytest.raises(VirError, match="ended before it replied"):
                    await work.call(CheckDirectory(path=str(tmp_path)))
        finally:
            forker.close()
            await asyncio.sleep(0)

    asyncio.run(run())
    assert len(list(tmp_path.iterdir())) == ATTEMPTS


@pytest.mark.parametrize("release", [True, False])
def test_a_process_that_was_given_up_is_not_replaced(tmp_path: Path, *, release: bool) -> None:
    async def test(work: PoolProcessClient) -> None:
        await work.call(CheckDirectory(path=str(tmp_path)))
        first = work._helper
        assert first is not None
        os.kill(first.pid, signal.SIGSTOP)
        stat = asyncio.create_task(work.call(Scan(directory=str(tmp_path))))
        late = asyncio.create_task(
            work.call(CheckDirectory(path=str(tmp_path)), deadline_s=20.0 if release else 0.05)
        )
        await asyncio.sleep(0)
        if release:
            work.release()  # for an umount, which an open directory would hold up
        words = "ended before it replied" if release else "did not answer"
        for call in (stat, late):
            with pytest.raises(VirError, match=words):
                await call
        assert work._helper is None

    with_work(test)


def test_a_long_operation_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    async def test(work: PoolProcessClient) -> None:
        (tmp_path / "v").touch()
        ours, theirs = socket.socketpair()
        order = Receive(
            path=str(tmp_path / "v"), descriptor=Descriptor(theirs.detach()), offset=0, length=0
        )
        task = asyncio.create_task(work.call_dedicated(order))
        ours.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(ours, b"x" * 100)
        while not (tmp_path / "v").stat().st_size:  # noqa: ASYNC110  (a file tells nobody)
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert await asyncio.get_running_loop().sock_recv(ours, 1) == b""  # its end has gone
        ours.close()

    with_work(test)


def test_a_pool_has_so_many_long_operations_and_no_more(tmp_path: Path) -> None:
    async def test(work: PoolProcessClient) -> None:
        async with contextlib.AsyncExitStack() as held:
            for _ in range(MAX_DEDICATED):
                await held.enter_async_context(work.dedicated_process())
            order = CreateRaw(directory=str(tmp_path), temporary_name="t", capacity=1, allocation=0)
            with pytest.raises(VirError) as refused:
                await work.call_dedicated(order)
            assert refused.value.code is ErrorCode.RESOURCE_BUSY
        await work.call_dedicated(order)

    with_work(test)


def test_all_processes_end_with_the_forker(tmp_path: Path) -> None:
    async def test(work: PoolProcessClient) -> None:
        await work.call(CheckDirectory(path=str(tmp_path)))
        helper = work._helper
        assert helper is not None
        work._fork_server.close()
        await gone(helper.pid)

    with_work(test)
