"""Records of all processes reach one log."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc import trace
from supervisor.runtime.log import (
    MAX_RECORD,
    Collector,
    ContextFilter,
    Output,
    RootHandler,
    parse_outputs,
)

DEADLINE_S = 10.0


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    root = logging.getLogger()
    level = root.level
    made = Collector(logging.DEBUG)
    made.write_to([Output(logging.DEBUG, "file", str(tmp_path / "log"))])
    yield made
    made.close()
    root.setLevel(level)


def child(end: socket.socket, name: str) -> logging.Logger:
    """A child's logging, apart from this process's own."""
    logger = logging.Logger("supervisor.test")
    logger.addHandler(RootHandler(end, name))
    return logger


def test_a_childs_record_keeps_its_process_and_trace(collector: Collector, tmp_path: Path) -> None:
    async def story() -> None:
        collector.listen(asyncio.get_running_loop())
        seen = asyncio.Event()
        watch = logging.Handler()
        watch.emit = lambda record: seen.set()  # type: ignore[method-assign]
        logging.getLogger().addHandler(watch)
        token = trace.set("t-1")
        child(collector.child_end, "domd").warning("disk %s is full", "vda")
        trace.reset(token)
        async with asyncio.timeout(DEADLINE_S):
            await seen.wait()
        logging.getLogger().removeHandler(watch)
        collector.close()  # writes what is queued

    asyncio.run(story())
    line = (tmp_path / "log").read_text()
    assert line.rstrip().endswith("WARNING domd [t-1] disk vda is full")


def test_a_childs_log_never_waits_and_says_what_was_lost() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        for end in (ours, theirs):
            end.settimeout(0)
        log = child(theirs, "rpcd")
        for number in range(2000):
            log.warning("record %d", number)
        kept = 0
        try:
            while ours.recv(MAX_RECORD):
                kept += 1
        except BlockingIOError:
            pass
        assert 0 < kept < 2000
        log.warning("the next")
        assert f"({2000 - kept} records before this one were lost) the next".encode() in ours.recv(
            MAX_RECORD
        )


@pytest.mark.parametrize("text", ["x" * 100_000, "\N{GRINNING FACE}" * 100_000])
def test_a_record_of_any_size_fits_one_datagram(text: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        theirs.settimeout(0)
        ours.settimeout(0)
        child(theirs, "rpcd").error(text)
        assert len(ours.recv(1_000_000)) < MAX_RECORD


def test_outputs_are_read_as_libvirt_writes_them() -> None:
    found = parse_outputs("1:file:/tmp/log 3:syslog:libvirtd 4:stderr", Output(0, "stderr"))
    assert [(o.kind, o.target) for o in found] == [
        ("file", "/tmp/log"),
        ("syslog", "libvirtd"),
        ("stderr", ""),
    ]
    with pytest.raises(ValueError, match="5:stderr"):
        parse_outputs("5:stderr", Output(0, "stderr"))


def test_the_roots_own_records_are_stamped() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "text", (), None)
    assert ContextFilter("root").filter(record)
    assert record.__dict__["process_name"] == "root"
    assert os.getpid() == record.process
