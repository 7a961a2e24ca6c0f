"""Raw bytes on a real daemon's sockets: the client is closed and named, the daemon stays."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.clients.daemon import PATIENCE, Daemon

REMOTE: Final = 0x20008086
CALL: Final = 0
CALL_WITH_FDS: Final = 4
CONNECT_OPEN: Final = 1
LONGEST: Final = 32 * 1024 * 1024 + 28  # of a message in libvirt 9.0, header included
PATIENT_S: Final = 20.0 * PATIENCE


@contextmanager
def raw_client(daemon: Daemon, *, read_only: bool = False) -> Iterator[socket.socket]:
    """A socket that no client library sits on."""
    suffix = "-ro" if read_only else ""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENT_S)
        client.connect(f"{daemon.root}/run/libvirt/libvirt-sock{suffix}")
        yield client


def header(length: int, *, kind: int = CALL, program: int = REMOTE, procedure: int = 66) -> bytes:
    """A message's length and header."""
    return struct.pack(">IIIIiII", length, program, 1, procedure, kind, 1, 0)


def wait_until_closed(client: socket.socket) -> None:
    """Read until the daemon hangs up; the socket's own time-out fails the test."""
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        return


def new_lines(daemon: Daemon, seen: int, word: str) -> list[str]:
    """Lines of the log after `seen` bytes with a word in them; waits for the first."""
    until = time.monotonic() + PATIENT_S
    with daemon.log.open() as log:
        log.seek(seen)
        lines: list[str] = []
        while not (found := [line for line in lines if word in line]):
            assert time.monotonic() < until, f"no {word!r} in the log: {lines}"
            lines += log.readlines()
        return found


def front_door(daemon: Daemon) -> tuple[int, int]:
    """Process number and restarts of rpcd."""
    row = next(row for row in daemon.status() if row["name"] == "rpcd")
    return row["pid"], row["restarts"]


@pytest.mark.parametrize("read_only", [False, True], ids=["rw", "ro"])
@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 0) + bytes(24),
        header(27),
        header(LONGEST + 1),
        header(0xFFFFFFFF),
        b"GET / HTTP/1.1\r\nHost: libvirt.example\r\n\r\n",
        header(32, kind=CALL_WITH_FDS) + struct.pack(">I", 33),
        header(32, kind=CALL_WITH_FDS) + struct.pack(">I", 2) + b"\0\0",
    ],
    ids=["empty", "short", "long", "longest", "http", "many-descriptors", "no-descriptors"],
)
def test_a_client_that_speaks_garbage_is_closed_alone_and_named(
    daemon: Daemon, data: bytes, read_only: bool
) -> None:
    before = front_door(daemon)
    with raw_client(daemon) as neighbour, raw_client(daemon, read_only=read_only) as hostile:
        seen = daemon.log.stat().st_size
        hostile.sendall(data)
        wait_until_closed(hostile)
        line = new_lines(daemon, seen, "is closed")[0]
        assert f"pid {os.getpid()}" in line
        neighbour.sendall(header(28))  # stays: it gets its answer, here a refusal
        assert len(neighbour.recv(28)) == 28
    assert daemon.ok("list").startswith(" Id")
    assert front_door(daemon) == before


def test_a_message_cut_off_in_the_middle_costs_nobody_anything(daemon: Daemon) -> None:
    before = front_door(daemon)
    whole = header(1028, procedure=CONNECT_OPEN) + bytes(1000)
    for length in (1, 3, 4, 5, 27, 28, 500, len(whole) - 1):
        with raw_client(daemon) as client:
            client.sendall(whole[:length])
            client.shutdown(socket.SHUT_WR)
            wait_until_closed(client)
    assert daemon.ok("list").startswith(" Id")
    assert front_door(daemon) == before


def test_random_bytes_behind_a_true_length_leave_the_daemon_up(daemon: Daemon) -> None:
    before = front_door(daemon)
    seen = daemon.log.stat().st_size
    for size in range(24, 1000, 16):
        with raw_client(daemon) as client:
            client.sendall(struct.pack(">I", size + 4) + os.urandom(size))
            client.shutdown(socket.SHUT_WR)
            wait_until_closed(client)
    assert daemon.ok("list").startswith(" Id")
    assert front_door(daemon) == before
    with daemon.log.open() as log:
        log.seek(seen)
        assert "Traceback" not in log.read()


def test_a_client_that_never_reads_holds_nobody_up(daemon: Daemon) -> None:
    before = front_door(daemon)
    with raw_client(daemon) as deaf:
        deaf.settimeout(0)
        flood = header(28) * 4096
        for _ in range(256):
            try:
                deaf.send(flood)
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                break
        assert daemon.ok("list").startswith(" Id")
    assert front_door(daemon) == before
