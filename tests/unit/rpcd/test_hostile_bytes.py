"""Whatever bytes a client sends: it alone is closed or refused, and nothing is raised."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conf.settings import DaemonConfig
from ipc import Descriptor
from rpc import framing
from rpc.framing import Header, MessageType, Status
from rpc.table import Procedure
from supervisor.messages.calls import ClientReply
from supervisor.rpcd.turns import CALLS_A_TURN
from tests.unit.rpcd.server_under_test import DEADLINE_S, REMOTE, Peer, client

LENGTH = struct.Struct(">I")


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run in a loop that takes no unhandled error."""
    problems: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: problems.append(context)
        )
        async with asyncio.timeout(DEADLINE_S):
            await scenario()

    asyncio.run(main())
    assert not problems


async def empty(procedure: Procedure, payload: bytes, passed: list[Descriptor]) -> ClientReply:
    for descriptor in passed:
        descriptor.close()
    return ClientReply(payload=b"")


@pytest.mark.parametrize(
    "data",
    [
        LENGTH.pack(0),
        LENGTH.pack(27),
        LENGTH.pack(framing.MAX_MESSAGE + 1),
        LENGTH.pack(0xFFFFFFFF),
        struct.pack(">IIIIiII", 28, REMOTE, 1, 1, MessageType.CALL_WITH_FDS, 1, 0),
        struct.pack(">IIIIiIII", 32, REMOTE, 1, 1, MessageType.CALL_WITH_FDS, 1, 0, 33),
        struct.pack(">IIIIiIII", 32, REMOTE, 1, 1, MessageType.CALL_WITH_FDS, 1, 0, 2) + b"\0\0",
    ],
    ids=["empty", "short", "long", "longest", "uncounted", "too-many", "announced-only"],
)
def test_bytes_that_are_no_message_close_the_client_with_a_warning(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with client() as peer, client() as other:
            await peer.send(data.ljust(28, b"\0"))
            assert await peer.is_closed()
            await other.open()

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert "client pid 1 uid 0 is closed" in caplog.text


@pytest.mark.parametrize(
    "header",
    [
        Header(0xDEAD, 1, 1, MessageType.CALL, 1, Status.OK),
        Header(REMOTE, 2, 1, MessageType.CALL, 1, Status.OK),
        Header(REMOTE, 1, 9999, MessageType.CALL, 1, Status.OK),
        Header(REMOTE, 1, 0, MessageType.CALL, 1, Status.OK),
        Header(REMOTE, 1, 1, MessageType.CALL, 1, Status.ERROR),
    ],
    ids=["program", "version", "procedure", "zero", "status"],
)
def test_a_call_of_an_unknown_procedure_is_refused_and_the_client_stays(header: Header) -> None:
    async def scenario() -> None:
        async with client() as peer:
            await peer.send(framing.encode(header, b""))
            answer = await peer.receive()
            assert (answer.header.serial, answer.header.status) == (1, Status.ERROR)
            await peer.open()

    run(scenario)


def test_undecodable_arguments_are_refused_and_the_client_stays() -> None:
    async def scenario() -> None:
        async with client() as peer:
            await peer.open()
            call = bytearray(peer.call("domain_lookup_by_name", "guest"))
            call[28:32] = LENGTH.pack(0x7FFFFFFF)  # the name's length
            await peer.send(bytes(call))
            assert (await peer.receive()).header.status == Status.ERROR
            await peer.send(peer.call("connect_get_lib_version"))
            assert (await peer.receive()).header.status == Status.OK

    run(scenario)


def test_a_call_before_the_connection_is_open_is_refused() -> None:
    async def scenario() -> None:
        async with client() as peer:
            await peer.send(peer.call("domain_lookup_by_name", "guest"))
            assert (await peer.receive()).header.status == Status.ERROR

    run(scenario)


def test_descriptors_of_a_call_that_takes_none_are_closed() -> None:
    reading, writing = os.pipe()

    async def scenario() -> None:
        async with client() as peer:
            await peer.open()
            socket.send_fds(peer.socket, [peer.call("connect_get_lib_version")], [writing])
            os.close(writing)
            await peer.receive()

    run(scenario)
    assert os.read(reading, 1) == b""  # no end of the pipe is open any more
    os.close(reading)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400))
def test_any_bytes_close_the_client_without_an_error(data: bytes) -> None:
    async def scenario() -> None:
        async with client(empty) as peer:
            await peer.send(data)
            peer.socket.shutdown(socket.SHUT_WR)
            assert await peer.is_closed()

    run(scenario)


headers = st.builds(
    Header,
    program=st.sampled_from([REMOTE, 0x20008087, 0x20008088, 0x6B656570, 7]),
    version=st.integers(0, 2),
    procedure=st.integers(0, 500),
    type=st.integers(0, 8),
    serial=st.integers(0, 3),
    status=st.integers(0, 4),
)
messages = st.lists(st.tuples(headers, st.binary(max_size=64)), max_size=12)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(messages, st.booleans())
def test_any_messages_are_handled_without_an_error(
    sent: list[tuple[Header, bytes]], opened: bool
) -> None:
    async def scenario() -> None:
        async with client(empty) as peer:
            if opened:
                await peer.open()
            await peer.send(b"".join(framing.encode(*message) for message in sent))
            peer.socket.shutdown(socket.SHUT_WR)
            assert await peer.is_closed()

    run(scenario)


class Stuck:
    """A service that answers when it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()

    async def answer(self, _: Procedure, __: bytes, passed: list[Descriptor]) -> ClientReply:
        for descriptor in passed:
            descriptor.close()
        self.asked += 1
        await self.go.wait()
        return ClientReply(payload=b"")


async def fill(peer: Peer, data: bytes, limit: int) -> int:
    """Send until the other end reads no more, or the limit; how many bytes went."""
    sent = 0
    while sent < limit:
        try:
            sent += peer.socket.send(data)
        except BlockingIOError:
            for _ in range(50):  # the session may want a few turns to take what is there
                await asyncio.sleep(0)
            try:
                sent += peer.socket.send(data)
            except BlockingIOError:
                return sent
        await asyncio.sleep(0)
    return sent


def test_calls_beyond_max_client_requests_stay_in_the_socket_buffer() -> None:
    async def scenario() -> None:
        stuck = Stuck()
        async with client(stuck.answer) as peer:
            await peer.open()
            call = peer.call("connect_num_of_domains")
            assert await fill(peer, call * 100, 64 << 20) < 8 << 20
            assert stuck.asked == 5  # max_client_requests
            stuck.go.set()

    run(scenario)


def test_a_client_that_never_reads_large_replies_is_closed() -> None:
    async def large(_: Procedure, __: bytes, ___: list[Descriptor]) -> ClientReply:
        return ClientReply(payload=bytes(20 << 20))

    async def scenario() -> None:
        async with client(large) as peer:
            await peer.open()
            await peer.send(peer.call("connect_get_capabilities") * 20)
            await peer.is_forgotten()

    run(scenario)


def test_a_client_that_does_not_read_its_replies_gets_no_further_ones_until_it_does() -> None:
    asked: list[str] = []

    async def large(procedure: Procedure, _: bytes, __: list[Descriptor]) -> ClientReply:
        asked.append(procedure.name)
        return ClientReply(payload=bytes(512 << 10))

    async def scenario() -> None:
        async with client(large) as peer:
            await peer.open()
            for _ in range(40):
                await peer.send(peer.call("connect_get_capabilities"))
            for _ in range(100):
                await asyncio.sleep(0)
            assert len(asked) <= 2 * DaemonConfig().max_client_requests
            frames = [await peer.receive() for _ in range(40)]
            assert sorted(frame.header.serial for frame in frames) == list(range(2, 42))

    run(scenario)


def test_a_client_with_many_calls_leaves_others_their_turn() -> None:
    async def scenario() -> None:
        async with client() as peer:
            await peer.open()
            calls = 40 * CALLS_A_TURN
            await peer.send(b"".join(peer.call("connect_is_secure") for _ in range(calls)))
            turns, replies = 0, asyncio.ensure_future(answers(peer, calls))
            while not replies.done():
                await asyncio.sleep(0)
                turns += 1
            assert await replies == calls
            assert turns >= calls // CALLS_A_TURN

    async def answers(peer: Peer, calls: int) -> int:
        return len([await peer.receive() for _ in range(calls)])

    run(scenario)


def test_replies_are_sent_in_the_order_of_completion() -> None:
    async def scenario() -> None:
        first = asyncio.Event()

        async def answer(procedure: Procedure, _: bytes, __: list[Descriptor]) -> ClientReply:
            if procedure.name == "connect_get_capabilities":
                await first.wait()
            return ClientReply(payload=b"")

        async with client(answer) as peer:
            await peer.open()
            slow = peer.call("connect_get_capabilities", serial=70)
            await peer.send(slow + peer.call("connect_num_of_domains", serial=71))
            assert (await peer.receive()).header.serial == 71
            first.set()
            assert (await peer.receive()).header.serial == 70

    run(scenario)


def test_a_ping_is_answered_with_a_pong() -> None:
    async def scenario() -> None:
        async with client() as peer:
            await peer.send(
                framing.encode(Header(0x6B656570, 1, 1, MessageType.MESSAGE, 0, Status.OK), b"")
            )
            header = (await peer.receive()).header
            assert (header.program, header.procedure) == (0x6B656570, 2)

    run(scenario)
