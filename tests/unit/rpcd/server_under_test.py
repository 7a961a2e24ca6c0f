"""A front whose services are the test's, and a client's end of a session."""

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
from supervisor.messages.calls import Client, ClientReply
from supervisor.rpcd.client import Credentials, ServerClient
from supervisor.rpcd.router import Router
from supervisor.rpcd.transport.unix import UnixTransport

REMOTE = 0x20008086
DEADLINE_S = 20.0
Service = Callable[[Procedure, bytes, list[Descriptor]], Awaitable[ClientReply]]


async def refuse_all(procedure: Procedure, payload: bytes, passed: list[Descriptor]) -> ClientReply:
    """No call is expected."""
    raise AssertionError(f"{procedure.name} was not expected")


class TestedFront(Router):
    """rpcd's front with one service for all owners."""

    __test__ = False

    def __init__(self, config: DaemonConfig, service: Service) -> None:
        self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        super().__init__(Node(self._ends[0], "rpcd"), wire_table.load(), config, session=False)
        self._service = service

    async def invoke(
        self, procedure: Procedure, payload: bytes, client: Client, descriptors: list[Descriptor]
    ) -> ClientReply:
        return await self._service(procedure, payload, descriptors)

    def end(self) -> None:
        """Close the link to the root that is not there."""
        self._node.close()
        self._ends[1].close()


@dataclass
class Peer:
    """A client: what it sends and hears."""

    socket: socket.socket
    session: ServerClient
    front: Router
    _decoder: FrameDecoder = field(default_factory=FrameDecoder)
    _heard: list[Frame] = field(default_factory=list)
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

    async def hear(self) -> Frame:
        """The next message.

        Raises:
            EOFError: the session hung up.
        """
        async with asyncio.timeout(DEADLINE_S):
            while not self._heard:
                data = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
                if not data:
                    raise EOFError
                self._heard += self._decoder.feed(data)
        return self._heard.pop(0)

    async def open(self) -> None:
        """Open the connection, as every client does first."""
        await self.send(self.call("connect_open", "qemu:///system", 0))
        assert (await self.hear()).header.status == Status.OK

    async def is_forgotten(self) -> None:
        """Wait until the session has ended, without reading what it sends."""
        ended = asyncio.Event()
        self.front.on_client_closed.append(ended.set)
        if self.session in self.front.clients:
            async with asyncio.timeout(DEADLINE_S):
                await ended.wait()

    async def is_hung_up(self) -> bool:
        """Whether the session closes."""
        try:
            while True:
                await self.hear()
        except (EOFError, ConnectionResetError):
            return True


@asynccontextmanager
async def client(
    service: Service = refuse_all, *, read_only: bool = False, config: DaemonConfig | None = None
) -> AsyncIterator[Peer]:
    """A client of a front of its own."""
    front = TestedFront(config or DaemonConfig(), service)
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    theirs.settimeout(0)
    channel = UnixTransport(ours, "the test")
    session = ServerClient(front, channel, Credentials(uid=0, gid=0, pid=1), read_only=read_only)
    try:
        yield Peer(theirs, session, front)
    finally:
        theirs.close()
        session.close()
        front.end()
        await asyncio.sleep(0)
