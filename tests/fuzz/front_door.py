"""What is done with bytes of clients that are not authenticated yet, and of what is asked of D-Bus.

Owns: the order in which TLS, authentication and messages are taken; a loop, and a process for
libsasl2. Nothing of the host is touched.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from jeepney import (
    DBusAddress,
    DBusErrorResponse,
    Message,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.low_level import HeaderFields, Parser

from conf.settings import DaemonConfig
from conf.tls_priority import parse_priority
from ipc import Descriptor
from rpc import framing, table
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.framing import Header, MessageType, Status
from rpc.table import Procedure
from supervisor.authd.mdns import AVAHI, BUS, Announcement, Bus, Service
from supervisor.authd.polkit import answer_of, refusal_of
from supervisor.messages.authd import (
    CheckPolkit,
    ListMechanisms,
    OpenSaslLayer,
    SaslLayer,
    SaslMechanisms,
    SaslReply,
    StartSasl,
)
from supervisor.messages.calls import ClientReply, Identity
from supervisor.messages.root import TlsFiles
from supervisor.rpcd.admin_calls import AdminCalls
from supervisor.rpcd.auth.auth_calls import AuthCalls
from supervisor.rpcd.auth.sasl import SaslService
from supervisor.rpcd.client_table import Limits
from supervisor.rpcd.main import ADMIN_PROGRAM
from supervisor.rpcd.programs import Programs
from supervisor.rpcd.server import Server, SocketPolicy
from supervisor.rpcd.transport.connected import SocketTransport
from supervisor.rpcd.transport.tls import TlsTransport
from supervisor.rpcd.transport.tls_context import server_context
from tests.certificates import CLIENT, authority, issue
from tests.paths import PROJECT
from tests.unit.rpcd.server_under_test import TestedServer

TURNS: Final = 40  # of the loop that a session is given to take what was sent
#: Ways in: policy of the socket, uid of the client, whether the connection is opened first.
WAYS: Final = (
    ("none", 0, False),
    ("none", 0, True),
    ("polkit", 1000, False),
    ("sasl", 1000, False),
    ("admin", 0, False),
    ("admin", 0, True),
)


@cache
def loop() -> asyncio.AbstractEventLoop:
    """Return the loop that all inputs share: a new one would cost more than they do."""
    made = asyncio.new_event_loop()
    made.set_exception_handler(lambda _, context: PROBLEMS.append(context))
    return made


PROBLEMS: Final[list[dict[str, Any]]] = []


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run in the loop; an error that nobody handled is a finding."""
    PROBLEMS.clear()
    loop().run_until_complete(scenario)
    for context in PROBLEMS:
        raise context.get("exception") or AssertionError(context["message"])


# TLS ------------------------------------------------------------------------------------------


class MemoryTransport:
    """The transport below a TLS session, in memory (`Transport`)."""

    name = "c"
    is_secure = False
    passes_descriptors = False
    addresses = ("", "")
    cipher_bits = 0
    unsent = 0
    is_congested = False

    def __init__(self) -> None:
        self.identity = Identity()
        self.descriptors: deque[int] = deque()
        self.closed = False
        self.sent = bytearray()
        self.receive: Callable[[bytes], None]
        self._on_close: Callable[[], None]

    def start(self, on_data: Callable[[bytes], None], on_close: Callable[[], None]) -> None:
        self.receive, self._on_close = on_data, on_close

    def send(self, data: bytes, descriptors: list[int] | None = None) -> None:
        assert not self.closed
        self.sent += data

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._on_close()

    def close_when_sent(self) -> None:
        self.close()

    def expect(self, size: int) -> None:
        assert size >= 0

    def detach(self) -> socket.socket:
        raise AssertionError

    async def drained(self) -> None:
        """Return at once."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


@cache
def tls_contexts() -> tuple[ssl.SSLContext, dict[tuple[int, bool], ssl.SSLContext]]:
    """Make the server's context, and clients' by version and whether they have a certificate."""
    ca = authority()
    server = issue("localhost", ca)
    files = TlsFiles(ca=ca.pem, certificate=server.pem, key=server.key_pem, crl=b"")
    clients = {}
    with tempfile.TemporaryDirectory() as folder:
        mine = issue("admin", ca, purpose=CLIENT)
        pem = Path(folder) / "client.pem"
        pem.write_bytes(mine.pem + mine.key_pem)
        for version, has_certificate in itertools.product((2, 3), (False, True)):
            context = ssl.create_default_context(cadata=ca.pem.decode())
            context.maximum_version = context.minimum_version = (
                ssl.TLSVersion.TLSv1_2 if version == 2 else ssl.TLSVersion.TLSv1_3
            )
            if has_certificate:
                context.load_cert_chain(pem)
            clients[version, has_certificate] = context
    return server_context(files, parse_priority(""), verify=True), clients


def tls(data: bytes) -> None:
    """Take a client's handshake, in one flight of which bytes are changed, then anything.

    Args:
        data: version and certificate, which flight, place, how many bytes are replaced, by what.
    """
    kind, flight, place, removed = struct.unpack_from(">BBHB", data.ljust(5, b"\0"))
    run(_tls(2 + (kind & 1), bool(kind & 2), flight % 4, place, removed, data[5:]))


async def _tls(
    version: int, has_certificate: bool, flight: int, place: int, removed: int, rest: bytes
) -> None:
    server, clients = tls_contexts()
    inner = MemoryTransport()
    transport = TlsTransport(inner, server)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = clients[version, has_certificate].wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    received: list[bytes] = []
    closed: list[bool] = []
    transport.handshake(
        lambda: transport.start(received.append, lambda: closed.append(True)),
        lambda: closed.append(True),
    )
    for number in range(6):
        with contextlib.suppress(ssl.SSLError):
            client.do_handshake()
            client.write(b"\0\0\0\x1c" + rest)
        sent = outgoing.read()
        if number == flight:
            place %= len(sent) + 1
            sent = sent[:place] + rest + sent[place + removed :]
        for start in range(0, len(sent), 1000):
            if not inner.closed:
                inner.receive(sent[start : start + 1000])
                await asyncio.sleep(0)
        incoming.write(bytes(inner.sent))
        inner.sent.clear()
    transport.close()
    assert inner.closed
    assert len(closed) == 1


# Messages before and after the authentication ---------------------------------------------------


class AuthdLink:
    """A link to an authd that lets everybody in who gives the right word."""

    async def call(self, request: object) -> object:
        """Answer a request."""
        await asyncio.sleep(0)
        if isinstance(request, ListMechanisms):
            return SaslMechanisms(names=["PLAIN", "DIGEST-MD5"])
        if isinstance(request, OpenSaslLayer):
            request.client.close()
            ours, theirs = socket.socketpair()
            ours.close()
            return SaslLayer(plain=Descriptor(theirs.detach()))
        if isinstance(request, CheckPolkit):
            raise VirError(ErrorCode.AUTH_FAILED, "access denied", ErrorDomain.POLKIT)
        data = getattr(request, "data", None)
        if data == b"right":
            layer = isinstance(request, StartSasl) and request.mechanism == "DIGEST-MD5"
            return SaslReply(data=None, is_complete=True, username="u", ssf=128 if layer else 0)
        if data == b"wrong":
            raise VirError(ErrorCode.AUTH_FAILED, "authentication failed", ErrorDomain.RPC)
        return SaslReply(data=data)


class FrontServer(TestedServer):
    """A server without a root, whose authd is `AuthdLink`."""

    def __init__(self, config: DaemonConfig) -> None:
        super().__init__(config, answer_nothing)
        # A root that takes what it is told.
        root = self._ends[1]
        loop().add_reader(root, root.recv, 1 << 16)
        link = self.node.link
        self.node.link = lambda name: AuthdLink() if name == "authd" else link(name)  # type: ignore[method-assign,assignment,return-value]
        self.sasl = SaslService(self.node)
        protocol = table.load()
        calls = AdminCalls(self.node, {"libvirtd": self}, lambda: config)
        self.admin = Server(
            self.node,
            Programs([protocol.programs[ADMIN_PROGRAM]], calls, AuthCalls()),
            self.router,
            Limits.of_admin(config),
            {},
            keeps_running=False,
        )


async def answer_nothing(_: Procedure, __: bytes, passed: list[Descriptor]) -> ClientReply:
    """Answer any call with an empty reply."""
    for descriptor in passed:
        descriptor.close()
    return ClientReply(payload=b"")


def session(data: bytes) -> None:
    """Take what a client sends by one of the ways in.

    Args:
        data: the way, then the bytes.
    """
    run(_session(*WAYS[(data[0] if data else 0) % len(WAYS)], data[1:]))


@cache
def front_server() -> FrontServer:
    """Make the server that all inputs share; what one leaves there is a finding."""
    return FrontServer(DaemonConfig())


async def _session(scheme: str, uid: int, is_opened: bool, data: bytes) -> None:
    server = front_server()
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    transport = SocketTransport(ours, Identity(uid=uid, gid=uid, pid=1), "c", is_secure=True)
    is_admin = scheme == "admin"
    chosen = server.admin if is_admin else server
    chosen.accept(transport, SocketPolicy("none" if is_admin else scheme, read_only=False))
    if is_opened:
        data = _open_call(0x06900690 if is_admin else 0x20008086, is_admin) + data
    try:
        for start in range(0, len(data), 4096):
            with contextlib.suppress(OSError):  # it is closed, or reads no more
                theirs.send(data[start : start + 4096])
            await _turns(theirs)
    finally:
        theirs.close()
        for _ in range(TURNS):
            if not chosen.clients.clients:
                break
            await asyncio.sleep(0)
        assert not chosen.clients.clients, "the client's end is not seen"


def _open_call(program: int, is_admin: bool) -> bytes:
    procedure = table.load().named("admin_connect_open" if is_admin else "connect_open")
    arguments = (0,) if is_admin else ("qemu:///system", 0)
    header = Header(program, 1, procedure.number, MessageType.CALL, 0, Status.OK)
    return framing.encode(header, procedure.encode_args(arguments))


async def _turns(theirs: socket.socket) -> None:
    """Let the server take what was sent, and read what it replies."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
        with contextlib.suppress(OSError):
            theirs.recv(1 << 16)


# SASL ------------------------------------------------------------------------------------------


@cache
def sasl_process() -> subprocess.Popen[bytes]:
    """Start the process that has libsasl2: one that it breaks is not ours."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.sasl_process"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(process.__exit__, None, None, None)  # closes its pipes, which ends it
    return process


def sasl(data: bytes) -> None:
    """Have a client's messages taken by the real mechanisms."""
    process = sasl_process()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(struct.pack(">I", len(data)) + data)
        process.stdin.flush()
        size = process.stdout.read(4)
    except BrokenPipeError:
        size = b""
    if len(size) < 4:
        sasl_process.cache_clear()
        raise AssertionError(f"libsasl2 ended its process with {process.wait()}")
    error = process.stdout.read(struct.unpack(">I", size)[0]).decode()
    assert not error, error


# D-Bus -----------------------------------------------------------------------------------------


class AnsweringBus(Bus):
    """A bus on which everything is answered with the next message of an input."""

    def __init__(self, bodies: list[Message]) -> None:
        self._bodies = bodies

    async def call(self, message: Message) -> tuple[object, ...]:
        """Answer a call."""
        if not self._bodies:
            raise EOFError
        reply = self._bodies.pop(0)
        if reply.header.message_type.name == "error":
            raise DBusErrorResponse(reply)
        return tuple(reply.body)

    async def signal(self) -> Message:
        """Give the next message as a signal."""
        if not self._bodies:
            raise EOFError
        return self._bodies.pop(0)


def dbus(data: bytes) -> None:
    """Read what polkit answers, and what avahi says.

    Args:
        data: JSON: messages' kind, signature and values.
    """
    try:
        items = msgspec.json.decode(data, type=list[tuple[str, str, list[Any]]])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
    messages = [message for item in items if (message := _message(item))]
    for message in messages:
        try:
            refusal_of(answer_of(message), "a")
        except (DBusErrorResponse, ValueError):
            continue

    async def follow() -> None:
        announcement = Announcement(AnsweringBus(messages), Service("Lab", 1))
        # What `_keep_announced` is prepared for.
        with contextlib.suppress(EOFError, ValueError, DBusErrorResponse):
            await announcement.run()

    run(follow())


def _message(item: tuple[str, str, list[Any]]) -> Message | None:
    """Make a message and read it as it would come; None: D-Bus has no such message."""
    kind, signature, values = item
    call = Message(new_signal(DBusAddress("/", interface="a.b"), "C").header, ())
    call.header.fields[HeaderFields.sender] = ":1.1"
    call.header.serial = 1
    values = [tuple(value) if isinstance(value, list) else value for value in values]
    try:
        if kind == "reply":
            made = new_method_return(call, signature, tuple(values))
        elif kind == "error":
            made = new_error(call, "a.b.Failed", signature, tuple(values))
        else:
            emitter = DBusAddress("/", interface=f"{AVAHI}.Server")
            made = new_signal(emitter, kind, signature, tuple(values))
            made.header.fields[HeaderFields.sender] = BUS
        parser = Parser()
        parser.add_data(made.serialise(1))
        return parser.get_next_message()
    except Exception:  # noqa: BLE001  (whatever jeepney says of values that do not fit)
        return None
