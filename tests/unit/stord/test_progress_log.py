"""What takes long says in the log how far it has come."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from conf.types.size import MIB
from supervisor.stord.progress_log import IoBytes, io_bytes, log_io, operation


async def work(named: bool) -> None:
    """Follow this process until it has been told of."""
    told = asyncio.Event()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    listening = Listening()
    logging.getLogger("supervisor.stord.progress_log").addHandler(listening)
    try:
        if named:
            with operation("volume 'a' is being wiped"), log_io(os.getpid(), interval_s=0.01):
                await asyncio.wait_for(told.wait(), 10)
        else:
            with log_io(os.getpid(), interval_s=0.0):
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert not told.is_set()
    finally:
        logging.getLogger("supervisor.stord.progress_log").removeHandler(listening)


def test_what_has_a_name_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asyncio.run(work(named=True))
    assert "volume 'a' is being wiped: " in caplog.text
    assert "MiB written" in caplog.text


def test_what_has_no_name_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asyncio.run(work(named=False))
    assert "MiB written" not in caplog.text


def test_what_a_process_has_moved_is_counted() -> None:
    before = io_bytes(os.getpid())
    with open("/dev/zero", "rb", buffering=0) as zeros:
        zeros.read(3 * MIB)
    after = io_bytes(os.getpid())
    assert isinstance(before, IoBytes)
    assert isinstance(after, IoBytes)
    assert after.read - before.read >= 3 * MIB


def test_a_process_that_has_gone_has_no_counts() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert io_bytes(pid) is None
