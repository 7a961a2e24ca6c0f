"""What guests print comes to their logs, whatever ends: logd, the root, the disk."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import math
import os
import signal
import termios
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from conf.settings import LogdConfig
from ipc.context import CallContext, set_call
from rpc.errors import ErrorCode, VirError
from supervisor.logd import main
from supervisor.logd.main import Logd
from supervisor.logd.rotating_file import RotatingFile
from supervisor.logd.takeover import take_lock
from supervisor.messages.logd import OpenLog, ReadLog


@asynccontextmanager
async def running(
    root: Path, config: LogdConfig | None = None, own_folders: frozenset[Path] = frozenset()
) -> AsyncIterator[Logd]:
    logd = Logd(root / "logd", config or LogdConfig(), own_folders)
    await logd.take_over()
    set_call(CallContext("qemu:web", "", math.inf))
    try:
        yield logd
    finally:
        await logd.hand_over()
        (root / "logd/lock").unlink()  # the next one is this process, too


async def open_log(logd: Logd, path: Path) -> int:
    writer = (await logd.open_log(OpenLog(domain="web", path=str(path)))).end.take()
    os.set_blocking(writer, False)
    return writer


async def text(logd: Logd, path: Path) -> bytes:
    return (await logd.read_log(ReadLog(path=str(path)))).text


async def feed(writer: int, text: bytes) -> None:
    """Write to the pipe, and wait until logd has read it."""
    os.write(writer, text)
    async with asyncio.timeout(5):
        while fcntl.ioctl(writer, termios.FIONREAD, bytes(4)) != bytes(4):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_what_is_written_to_the_pipe_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.write_text("earlier\n")
    async with running(tmp_path) as logd:
        writer = await open_log(logd, path)
        os.write(writer, b"hello")
        assert await text(logd, path) == b"hello"
        assert path.read_text() == "earlier\nhello"
        os.close(writer)
        async with asyncio.timeout(5):
            await logd.idle.wait()
    assert [entry.name for entry in (tmp_path / "logd").iterdir()] == []


async def test_the_next_logd_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    async with running(tmp_path) as logd:
        writer = await open_log(logd, path)
        os.write(writer, b"one")
        await text(logd, path)
    with pytest.raises(BrokenPipeError):  # QEMU goes on; it would wait for room in the pipe
        os.write(writer, b"lost")
    async with running(tmp_path) as logd:
        os.write(writer, b" two")
        await text(logd, path)
        os.close(writer)
        async with asyncio.timeout(5):
            await logd.idle.wait()
    assert path.read_text() == "one two"


async def test_what_is_in_the_pipe_waits_for_the_next_logd(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    async with running(tmp_path) as logd:
        writer = await open_log(logd, path)
        os.write(writer, b"written before the end, and not read")
        await logd.hand_over()
    async with running(tmp_path) as logd:
        await text(logd, path)
        os.close(writer)
    assert path.read_text() == "written before the end, and not read"


async def test_what_waits_for_the_disk_is_written_before_the_next_logd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "web.log"
    may_write = threading.Event()
    write = RotatingFile.write

    def slow(file: RotatingFile, data: bytes) -> None:
        assert may_write.wait(5)
        write(file, data)

    monkeypatch.setattr(RotatingFile, "write", slow)
    async with running(tmp_path) as logd:
        writer = await open_log(logd, path)
        await feed(writer, b"with the disk, ")
        await feed(writer, b"behind it")
        ending = asyncio.create_task(logd.hand_over())
        await asyncio.sleep(0)
        os.write(writer, b", and in the pipe")
        may_write.set()
        await ending
        assert path.read_text() == "with the disk, behind it"
    async with running(tmp_path) as logd:
        os.close(writer)
        async with asyncio.timeout(5):
            await logd.idle.wait()
    assert path.read_text() == "with the disk, behind it, and in the pipe"


async def test_a_disk_that_does_not_answer_does_not_hold_up_the_next_logd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    may_write = threading.Event()
    monkeypatch.setattr(RotatingFile, "write", lambda *_: may_write.wait(5))
    monkeypatch.setattr(main, "HAND_OVER_S", 0.05)
    async with running(tmp_path) as logd:
        writer = await open_log(logd, tmp_path / "web.log")
        await feed(writer, b"text")
        async with asyncio.timeout(4):
            await logd.hand_over()
        may_write.set()
    os.close(writer)
    assert "output of guests is lost: 1 files cannot be written" in caplog.text


@pytest.mark.parametrize("own", [True, False])
async def test_the_next_logd_makes_only_the_daemons_own_folder_anew(
    tmp_path: Path, *, own: bool
) -> None:
    """As when Debian's package of libvirt was purged, with /var/log/libvirt, below its guests."""
    path = tmp_path / "logs/web.log"
    path.parent.mkdir()
    async with running(tmp_path) as logd:
        writer = await open_log(logd, path)
    path.unlink()
    path.parent.rmdir()
    folders = frozenset({path.parent} if own else ())
    async with running(tmp_path, own_folders=folders) as logd:
        if own:
            os.write(writer, b"found")
            assert await text(logd, path) == b"found"
        os.close(writer)
    assert path.exists() is own


async def test_a_file_has_one_pipe(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    async with running(tmp_path) as logd:
        writer = await open_log(logd, path)
        with pytest.raises(VirError, match=f"Cannot open log file: '{path}'.*busy") as refused:
            await open_log(logd, path)
        assert refused.value.code is ErrorCode.SYSTEM_ERROR
        os.close(writer)
        os.close(await open_log(logd, path))  # at once: what ended is noticed now


async def test_a_file_that_cannot_be_opened_is_named_and_leaves_no_pipe(tmp_path: Path) -> None:
    async with running(tmp_path) as logd:
        for path in (tmp_path / "missing/log", tmp_path, Path("relative")):
            with pytest.raises(VirError, match=f"'{path}'") as refused:
                await open_log(logd, path)
            assert refused.value.code is ErrorCode.SYSTEM_ERROR
        assert logd.idle.is_set()
        assert [entry.name for entry in (tmp_path / "logd").iterdir()] == ["lock"]


async def test_a_full_disk_costs_the_output_and_not_the_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "web.log"
    write, is_full = RotatingFile.write, [True]

    def fill(file: RotatingFile, data: bytes) -> None:
        if is_full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, data)

    monkeypatch.setattr(RotatingFile, "write", fill)
    async with running(tmp_path) as logd:
        writer = await open_log(logd, path)
        for _ in range(100):
            os.write(writer, b"x" * 4096)
            await text(logd, path)
        is_full[0] = False
        os.write(writer, b"room again")
        assert await text(logd, path) == b"room again"
        os.close(writer)


async def test_a_disk_that_does_not_answer_holds_up_no_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "web.log"
    write = RotatingFile.write
    loop, answered = asyncio.get_running_loop(), asyncio.Event()

    def hang(file: RotatingFile, data: bytes) -> None:
        asyncio.run_coroutine_threadsafe(answered.wait(), loop).result()
        write(file, data)

    monkeypatch.setattr(RotatingFile, "write", hang)
    monkeypatch.setattr("supervisor.logd.log_pipe.BACKLOG", 64 * 1024)
    monkeypatch.setattr("supervisor.logd.log_pipe.STALL_S", 0.0)
    async with running(tmp_path) as logd:
        writer = await open_log(logd, path)
        sent = 0
        async with asyncio.timeout(10):
            while sent < 1 << 20:  # far more than the pipe and the backlog hold
                try:
                    sent += os.write(writer, b"x" * 4096)
                except BlockingIOError:
                    await asyncio.sleep(0)
        answered.set()
        await text(logd, path)
        os.close(writer)
        async with asyncio.timeout(5):
            await logd.idle.wait()
    assert b"bytes are missing here" in path.read_bytes()


async def test_settings_hold_for_open_files(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    async with running(tmp_path) as logd:
        writer = await open_log(logd, path)
        logd.config = LogdConfig(max_size=10, max_backups=1)
        os.write(writer, b"a" * 10 + b"b" * 10)
        await text(logd, path)
        os.close(writer)
    assert path.read_bytes() == b"b" * 10
    assert (tmp_path / "web.log.0").read_bytes() == b"a" * 10


async def test_the_previous_process_is_ended(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    script = (
        "import fcntl, os, sys, time\n"
        "fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "os.write(fd, str(os.getpid()).encode())\n"
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    previous = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", "-c", script, str(lock), stdout=asyncio.subprocess.PIPE
    )
    assert previous.stdout is not None
    await previous.stdout.readline()
    fd = await take_lock(lock)
    assert await previous.wait() == -signal.SIGTERM
    assert lock.read_text().strip() == str(os.getpid())
    os.close(fd)


@pytest.mark.parametrize("peer", ["rpcd", "domd", "netd", "qemu", "other:web"])
async def test_only_workers_may_have_files_opened(tmp_path: Path, peer: str) -> None:
    async with running(tmp_path) as logd:
        set_call(CallContext(peer, "", math.inf))
        with pytest.raises(VirError) as refused:
            await open_log(logd, tmp_path / "log")
    assert not (tmp_path / "log").exists()
    assert refused.value.code is ErrorCode.ACCESS_DENIED
