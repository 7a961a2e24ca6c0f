"""A server whose services are the test's, and a client's end of a connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from conf.settings import DaemonConfig
from ipc import Descriptor, Node
from rpc import framing
from rpc import table as wire_table
from rpc.framing import Frame, FrameDecoder, Header, MessageType, Status
from rpc.table import Procedure
from supervisor.access.control import AccessControl
from supervisor.messages.calls import Client, ClientEvent, ClientReply, Identity
from supervisor.rpcd.client_table import ClientHandle, Limits
from supervisor.rpcd.event_access import name_in
from supervisor.rpcd.main import main_programs
from supervisor.rpcd.router import Router
from supervisor.rpcd.server import Server, SocketPolicy, socket_policies
from supervisor.rpcd.transport.connected import SocketTransport

REMOTE = 0x20008086
DEADLINE_S = 20.0
ROOT = Identity(uid=0, gid=0, pid=1)
Service = Callable[[Procedure, bytes, list[Descriptor]], Awaitable[ClientReply]]


async def refuse_all(procedure: Procedure, payload: bytes, passed: list[Descriptor]) -> ClientReply:
    """No call is expected."""
    raise AssertionError(f"{procedure.name} was not expected")


class TestedRouter(Router):
    """A router with one service for all owners."""

    __test__ = False

    def __init__(self, node: Node, service: Service, access: AccessControl | None) -> None:
        super().__init__(node, wire_table.load(), session=False, access=access)
        self._service = service
        self.visible: set[str] = set()  # names of objects whose events clients may see

    async def invoke(
        self, procedure: Procedure, payload: bytes, client: Client, descriptors: list[Descriptor]
    ) -> ClientReply:
        return await self._service(procedure, payload, descriptors)

    async def may_see(self, client: Client, event: ClientEvent) -> bool:
        return name_in(event) in self.visible


class TestedServer(Server):
    """The main server on a bus without a root."""

    __test__ = False

    def __init__(
        self, config: DaemonConfig, service: Service, access: AccessControl | None = None
    ) -> None:
        self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.node = Node(self._ends[0], "rpcd")
        self.router = TestedRouter(self.node, service, access)
        programs = main_programs(wire_table.load())
        limits, policies = Limits.from_config(config), socket_policies(config)
        super().__init__(self.node, programs, self.router, limits, policies)

    def end(self) -> None:
        """Close the link to the root that is not there."""
        self.node.close()
        self._ends[1].close()


@dataclass
class Peer:
    """A client's end: what it sends and receives."""

    socket: socket.socket
    session: ClientHandle
    server: TestedServer
    _decoder: FrameDecoder = field(default_factory=FrameDecoder)
    _received: list[Frame] = field(default_factory=list)
    _serial: int = 0

    def call(self, name: str, *arguments: object, serial: int | None = None) -> bytes:
        """The bytes of a call."""
        procedure = wire_table.load().named(name)
        self._serial += 1
        number = self._serial if serial is None else serial
        header = Header(REMOTE, 1, procedure.number, MessageType.CALL, number, Status.OK)
        return framing.encode(header, procedure.encode_args(arguments))

    async def send(self, data: bytes) -> None:
        """Send bytes, all of them."""
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receive(self) -> Frame:
        """The next message.

        Raises:
            EOFError: the server closed the connection.
        """
        async with asyncio.timeout(DEADLINE_S):
            while not self._received:
                data = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
                if not data:
                    raise EOFError
                self._received += self._decoder.feed(data)
        return self._received.pop(0)

    async def open(self) -> None:
        """Open the connection, as every client does first."""
        await self.send(self.call("connect_open", "qemu:///system", 0))
        assert (await self.receive()).header.status == Status.OK

    async def is_forgotten(self) -> None:
        """Wait until the server has removed the client, without reading what it sends."""
        ended = asyncio.Event()
        self.server.clients.on_client_closed.append(ended.set)
        if self.session in self.server.clients.clients:
            async with asyncio.timeout(DEADLINE_S):
                await ended.wait()

    async def is_closed(self) -> bool:
        """Whether the server closes the connection."""
        try:
            while True:
                await self.receive()
        except (EOFError, ConnectionResetError):
            return True


@asynccontextmanager
async def client(
    service: Service = refuse_all,
    *,
    read_only: bool = False,
    config: DaemonConfig | None = None,
    access: AccessControl | None = None,
    identity: Identity = ROOT,
) -> AsyncIterator[Peer]:
    """A client of a server of its own."""
    server = TestedServer(config or DaemonConfig(), service, access)
    client_end, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    client_end.settimeout(0)
    transport = SocketTransport(server_end, identity, "pid 1 uid 0", is_secure=True)
    server.accept(transport, SocketPolicy("none", read_only=read_only))
    (session,) = server.clients.clients
    try:
        yield Peer(client_end, session, server)
    finally:
        client_end.close()
        session.close()
        server.end()
        await asyncio.sleep(0)
