"""The end of a socket is noticed though its peer died with bytes unread, on either loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest

from ipc.held_events import HeldEvents
from ipc.transport import READ_SIZE, Transport
from supervisor.authd.layer import Direction
from supervisor.messages.calls import Identity
from supervisor.rpcd.transport.connected import READ_SIZE as CLIENT_READ_SIZE
from supervisor.rpcd.transport.connected import SocketTransport
from supervisor.workers.qemu.qmp.monitor import Monitor

Run = Callable[[Coroutine[Any, Any, None]], None]
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: the close sends RST


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """A socket, and its peer that has not read what was sent to it."""
    ours, theirs = socket.socketpair()
    ours.send(b"unread")
    return ours, theirs


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """A socket, and its peer that ends the connection by a reset."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return ours, theirs


@pytest.mark.parametrize("pair", [unix_pair, tcp_pair])
def test_a_client_that_resets_its_connection_is_closed(
    run: Run, pair: Callable[[], tuple[socket.socket, socket.socket]]
) -> None:
    async def scenario() -> None:
        ours, theirs = pair()
        theirs.sendall(b"x" * (CLIENT_READ_SIZE + 1))
        theirs.close()
        transport = SocketTransport(ours, Identity(), "c", is_secure=True)
        closed = asyncio.Event()
        transport.start(lambda _: None, closed.set)
        async with asyncio.timeout(5):
            await closed.wait()

    run(scenario())


def test_a_client_that_is_not_read_stays_so_when_it_resets_its_connection(run: Run) -> None:
    async def scenario() -> None:
        ours, theirs = unix_pair()
        theirs.sendall(b"x" * (CLIENT_READ_SIZE + 1))
        theirs.close()
        transport = SocketTransport(ours, Identity(), "c", is_secure=True)
        read: list[bytes] = []
        closed, first = asyncio.Event(), asyncio.Event()

        def received(data: bytes) -> None:
            read.append(data)
            if not first.is_set():
                transport.pause_reading()
            first.set()

        transport.start(received, closed.set)
        async with asyncio.timeout(5):
            await first.wait()
        for _ in range(10):  # turns of the loop
            await asyncio.sleep(0)
        assert len(read) == 1
        transport.resume_reading()
        async with asyncio.timeout(5):
            await closed.wait()
        assert sum(map(len, read)) == CLIENT_READ_SIZE + 1

    run(scenario())


def test_the_last_words_of_a_dead_process_arrive_on_the_bus_and_then_its_end(run: Run) -> None:
    async def scenario() -> None:
        ours, theirs = unix_pair()
        theirs.sendall(b"x" * (READ_SIZE + 1))
        theirs.close()
        lost = asyncio.Event()
        received: list[bytes] = []
        held = HeldEvents()
        Transport(ours, lambda data, _: received.append(data), lost.set, held)
        async with asyncio.timeout(5):
            await lost.wait()
        assert sum(map(len, received)) == READ_SIZE + 1

    run(scenario())


def test_the_end_of_a_client_of_a_security_layer_is_noticed(run: Run) -> None:
    async def scenario() -> None:
        ours, theirs = unix_pair()
        theirs.sendall(b"x")
        theirs.close()
        target, peer = socket.socketpair()
        for end in (ours, target):
            end.settimeout(0)
        ended = asyncio.Event()
        direction = Direction(ours, target, bytes, lambda _: ended.set(), chunk=1)
        async with asyncio.timeout(5):
            await ended.wait()
        direction.close()
        for end in (ours, target, peer):
            end.close()

    run(scenario())


def test_the_end_of_a_qemu_that_left_commands_unread_is_noticed(run: Run) -> None:
    async def scenario() -> None:
        ours, theirs = unix_pair()
        theirs.sendall(b'{"event": "STOP", "data": {}, "timestamp": {"seconds": 1}}\r\n')
        theirs.close()
        ours.settimeout(0)
        lost = asyncio.Event()
        Monitor(ours, "web", lambda _: None, lambda _: lost.set())
        async with asyncio.timeout(5):
            await lost.wait()

    run(scenario())
