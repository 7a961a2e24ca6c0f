"""A stream carries bytes both ways, waits for the slower side, and ends as either side asks."""

from __future__ import annotations

import asyncio
import os
import socket

from ipc import Descriptor
from rpc import framing
from rpc import table as wire_table
from rpc.framing import Frame, Header, MessageType, Status
from rpc.table import Procedure
from rpc.values import Domain
from supervisor.messages.calls import ClientReply, Stream
from tests.unit.rpcd.server_under_test import DEADLINE_S, REMOTE, Peer, client

SERIAL = 7
GUEST = Domain("guest", bytes(16), 1)
CONSOLE = wire_table.load().named("domain_open_console")


class Console:
    """A service whose every answer is a stream; the test has the other end of it."""

    def __init__(self) -> None:
        self.far, self._near = socket.socketpair()
        self.far.setblocking(False)

    async def answer(self, _: Procedure, __: bytes, passed: list[Descriptor]) -> ClientReply:
        near = Descriptor(os.dup(self._near.fileno()))
        self._near.close()
        return ClientReply(payload=b"", stream=Stream(descriptor=near))

    async def is_closed(self) -> bool:
        """Whether rpcd closes its end."""
        async with asyncio.timeout(DEADLINE_S):
            while await asyncio.get_running_loop().sock_recv(self.far, 1 << 16):
                pass
        return True


def packet(status: Status, data: bytes = b"", kind: MessageType = MessageType.STREAM) -> bytes:
    """A packet of the stream."""
    return framing.encode(Header(REMOTE, 1, CONSOLE.number, kind, SERIAL, status), data)


async def open_stream(peer: Peer) -> None:
    """Open the connection and the stream."""
    await peer.open()
    await peer.send(peer.call("domain_open_console", GUEST, None, 0, serial=SERIAL))
    assert (await peer.receive()).header.status == Status.OK


async def last_packet(peer: Peer) -> Frame:
    """The packet that ends the stream."""
    while (frame := await peer.receive()).header.status == Status.CONTINUE:
        pass
    return frame


def test_a_stream_carries_bytes_both_ways_and_confirms_its_finish() -> None:
    async def scenario() -> None:
        console = Console()
        async with client(console.answer) as peer:
            await open_stream(peer)
            await peer.send(packet(Status.CONTINUE, b"typed"))
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(console.far, 100) == b"typed"
            await loop.sock_sendall(console.far, b"shown")
            heard = await peer.receive()
            assert (heard.header.type, bytes(heard.payload)) == (MessageType.STREAM, b"shown")
            await peer.send(packet(Status.OK))
            assert (await last_packet(peer)).header.status == Status.OK
            assert await console.is_closed()
        console.far.close()

    asyncio.run(scenario())


def test_an_aborted_stream_leaves_its_connection_open() -> None:
    for ending in (
        packet(Status.ERROR),
        packet(Status.CONTINUE, b"\0\0", MessageType.STREAM_HOLE),
        packet(Status.CONTINUE, bytes(12), MessageType.STREAM_HOLE),
    ):

        async def scenario(ending: bytes = ending) -> None:
            console = Console()
            async with client(console.answer) as peer:
                await open_stream(peer)
                await peer.send(ending)
                await last_packet(peer)
                assert await console.is_closed()
                await peer.send(peer.call("connect_get_lib_version"))
                assert (await peer.receive()).header.status == Status.OK
            console.far.close()

        asyncio.run(scenario())


def test_a_service_that_does_not_read_pauses_the_client() -> None:
    async def scenario() -> None:
        console = Console()
        async with client(console.answer) as peer:
            await open_stream(peer)
            data, sent = packet(Status.CONTINUE, bytes(60_000)), 0
            until = asyncio.get_running_loop().time() + DEADLINE_S
            idle = 0
            while idle < 1000:  # turns in which nothing more was taken
                assert asyncio.get_running_loop().time() < until
                try:
                    sent, idle = sent + peer.socket.send(data[sent % len(data) :]), 0
                except BlockingIOError:
                    idle += 1
                await asyncio.sleep(0)
                assert sent < 16 << 20
        console.far.close()

    asyncio.run(scenario())


def test_a_client_that_does_not_read_pauses_the_service() -> None:
    async def scenario() -> None:
        console = Console()
        async with client(console.answer) as peer:
            await open_stream(peer)
            sent, idle = 0, 0
            while idle < 1000:
                try:
                    sent, idle = sent + console.far.send(bytes(60_000)), 0
                except BlockingIOError:
                    idle += 1
                await asyncio.sleep(0)
                assert sent < 16 << 20
        assert await console.is_closed()  # the client has gone: so has the stream
        console.far.close()

    asyncio.run(scenario())
