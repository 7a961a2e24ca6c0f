"""A server: its own programs, any transport, a security layer below the messages."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Collection

import pytest

from conf.settings import DaemonConfig
from ipc.messages import Event
from rpc import framing
from rpc import table as wire_table
from rpc.framing import Frame, FrameDecoder, Header, MessageType, Status
from rpc.params import LLong, String, ULLong, params
from supervisor.messages.calls import ClientClosed, ClientReply, Identity
from supervisor.messages.root import KeepRunning
from supervisor.rpcd.buffer_budget import BufferBudget
from supervisor.rpcd.client import ServerClient
from supervisor.rpcd.client_table import Limits
from supervisor.rpcd.connect_calls import ConnectCalls
from supervisor.rpcd.connection import Connection
from supervisor.rpcd.programs import Programs
from supervisor.rpcd.server import Server, SocketPolicy
from tests.unit.rpcd.server_under_test import DEADLINE_S, REMOTE, TestedServer, refuse_all

CERTIFICATE = Identity(tls_dn="CN=admin")
QEMU = 0x20008087


class MemoryTransport:
    """A transport without a socket, as TLS would have its own: it implements `Transport`."""

    name = "memory"
    is_secure = False
    passes_descriptors = False
    addresses = ("", "")
    cipher_bits = 0

    def __init__(self) -> None:
        self.closed = False
        self.identity = CERTIFICATE
        self.descriptors: deque[int] = deque()
        self.sent = bytearray()
        self.unsent = 0
        self.on_data: Callable[[bytes], None]
        self.on_close: Callable[[], None]

    def start(self, on_data: Callable[[bytes], None], on_close: Callable[[], None]) -> None:
        self.on_data, self.on_close = on_data, on_close

    def send(self, data: bytes, descriptors: list[int] | None = None) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True
        self.on_close()

    def close_when_sent(self) -> None:
        self.close()

    @property
    def is_congested(self) -> bool:
        return False

    def expect(self, size: int) -> None:
        """Bytes come from the test alone."""

    async def drained(self) -> None:
        """Everything is sent at once."""

    def pause_reading(self) -> None:
        """Bytes come from the test alone."""

    def resume_reading(self) -> None:
        """Bytes come from the test alone."""

    def detach(self) -> socket.socket:
        raise ValueError("there is no socket")

    def replies(self) -> list[Frame]:
        """The messages that were sent."""
        return FrameDecoder().feed(bytes(self.sent))


def call(name: str, *arguments: object) -> bytes:
    """The bytes of a call of the remote program."""
    procedure = wire_table.load().named(name)
    header = Header(procedure.program, 1, procedure.number, MessageType.CALL, 7, Status.OK)
    return framing.encode(header, procedure.encode_args(arguments))


async def test_a_refused_call_is_logged_with_its_client_and_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "supervisor.rpcd")
    server = TestedServer(DaemonConfig(), refuse_all)
    transport = MemoryTransport()
    server.accept(transport, SocketPolicy("none", read_only=True))
    transport.on_data(call("connect_open", "qemu:///system", 1) + call("domain_create_xml", "x", 0))
    assert transport.replies()[1].header.status == Status.ERROR
    (line,) = [record.getMessage() for record in caplog.records if "refused" in record.msg]
    assert line.startswith("client memory: domain_create_xml is refused: ")
    assert "read only" in line
    transport.close()
    server.end()


@pytest.mark.parametrize("called", [False, True])
async def test_services_learn_that_a_client_left_if_it_called_one(
    monkeypatch: pytest.MonkeyPatch,
    called: bool,
) -> None:
    async def one_domain(*_: object) -> ClientReply:
        return ClientReply(payload=b"\0\0\0\1")

    server = TestedServer(DaemonConfig(), one_domain)
    published: list[tuple[Event, Collection[str]]] = []
    monkeypatch.setattr(server.node, "publish", lambda *sent: published.append(sent))
    transport = MemoryTransport()
    server.accept(transport, SocketPolicy("none", read_only=True))
    transport.on_data(call("connect_open", "qemu:///system", 1))
    if called:
        transport.on_data(call("connect_num_of_domains"))
        await asyncio.sleep(0)
    transport.close()
    assert [type(event) for event, _ in published] == [ClientClosed] * called
    assert [processes for _, processes in published] == [{"domd"}] * called  # the others sleep on
    server.end()


async def test_a_client_of_another_transport_is_served() -> None:
    server = TestedServer(DaemonConfig(), refuse_all)
    transport = MemoryTransport()
    server.accept(transport, SocketPolicy("none", read_only=False))
    (client,) = server.clients.clients
    assert client.authentication.identity is CERTIFICATE
    transport.on_data(call("connect_open", "qemu:///system", 0) + call("connect_is_secure"))
    opened, secure = transport.replies()
    assert (opened.header.status, secure.payload) == (Status.OK, bytes(4))
    transport.close()
    assert not server.clients.clients
    server.end()


async def test_a_program_is_reachable_only_on_the_servers_that_offer_it() -> None:
    main = TestedServer(DaemonConfig(), refuse_all)
    programs = Programs([wire_table.load().programs[QEMU]], ConnectCalls())
    limits = Limits.from_config(DaemonConfig())
    other = Server(main.node, programs, main.router, limits, {})
    transport = MemoryTransport()
    other.accept(transport, SocketPolicy("none", read_only=False))
    transport.on_data(call("connect_open", "qemu:///system", 0))
    (reply,) = transport.replies()
    assert reply.header.status == Status.ERROR
    assert f"Cannot find program {REMOTE}".encode() in reply.payload
    assert not main.clients.clients
    transport.close()
    main.end()


async def test_a_connection_goes_on_below_a_security_layer() -> None:
    former, layered = MemoryTransport(), MemoryTransport()
    connection = Connection(former, BufferBudget())
    frames: list[Frame] = []
    ended = asyncio.Event()
    connection.start(lambda frame, _: frames.append(frame), ended.set)
    connection.change_transport(layered)
    layered.on_data(call("connect_close"))
    assert frames[0].header.serial == 7
    connection.send(b"reply")
    assert (bytes(former.sent), bytes(layered.sent)) == (b"", b"reply")
    layered.close()
    assert ended.is_set()


async def test_bytes_sent_before_the_layer_are_refused() -> None:
    former = MemoryTransport()
    connection = Connection(former, BufferBudget())
    connection.start(lambda frame, _: None, lambda: None)
    former.on_data(call("connect_close")[:10])
    with pytest.raises(ValueError, match="unprotected"):
        connection.change_transport(MemoryTransport())


async def test_a_proxy_says_for_whom_it_calls_and_gains_no_right() -> None:
    server = TestedServer(DaemonConfig(), refuse_all)
    transport = MemoryTransport()
    server.accept(transport, SocketPolicy("none", read_only=True))
    transport.on_data(call("connect_open", "qemu:///system", 1))
    (session,) = server.clients.clients
    assert isinstance(session, ServerClient)
    claim = params({"unix-user-id": ULLong(7), "process-id": LLong(9), "user-name": String("x")})
    transport.on_data(call("connect_set_identity", claim, 0))
    assert session.identity == Identity(uid=7, pid=9)
    transport.on_data(call("connect_set_identity", params({"bogus": String("x")}), 0))
    transport.on_data(call("domain_create_xml", "x", 0))
    statuses = [reply.header.status for reply in transport.replies()]
    assert statuses == [Status.OK, Status.OK, Status.ERROR, Status.ERROR]
    assert session.identity == Identity(uid=7, pid=9)
    assert session.read_only
    transport.close()
    server.end()


async def test_the_root_is_told_when_there_is_no_client_for_a_while_not_between_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = TestedServer(DaemonConfig(), refuse_all)
    told: list[bool] = []
    told_idle = asyncio.Event()

    def note(event: KeepRunning) -> None:
        told.append(event.busy)
        if not event.busy:
            told_idle.set()

    monkeypatch.setattr(server.node.control, "send", note)
    for _ in range(3):
        transport = MemoryTransport()
        server.accept(transport, SocketPolicy("none", read_only=False))
        transport.close()
    assert told == [True]
    async with asyncio.timeout(DEADLINE_S):
        await told_idle.wait()
    transport = MemoryTransport()
    server.accept(transport, SocketPolicy("none", read_only=False))
    assert told == [True, False, True]
    transport.close()
    server.clients.close()
    server.end()
