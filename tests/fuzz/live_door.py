"""Hostile clients at every way in of a running daemon, before and after their authentication.

    python -m tests.fuzz.live_door COUNT SEED

Owns: the daemon that it starts, with certificates, users and open ports, and its connections. It
needs root. Connections are authenticated and opened read-only before calls are sent, so that none
of them changes the host. An input is a message, a flight of a TLS handshake, or a piece of garbage.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final, Protocol

from rpc import framing, table
from rpc.framing import Frame, FrameDecoder, FrameError, Header, MessageType, Status
from tests.certificates import CLIENT, authority, issue, write_client, write_server
from tests.clients.daemon import Daemon
from tests.fuzz import arguments
from tests.fuzz.havoc import havoc
from tests.fuzz.live import processes, say, unforeseen
from tests.unit.authd.sasl_client import RightClient, write_users

CONFIG: Final = """
listen_tcp = 1
listen_addr = "127.0.0.1"
tls_port = "{tls}"
tcp_port = "{tcp}"
auth_tls = "none"
auth_tcp = "sasl"
auth_unix_ro = "sasl"
max_anonymous_clients = 100
"""
PATIENCE_S: Final = 5.0
MESSAGES: Final = 64  # of a connection, most of which go out at once
BATCH: Final = 16
READ_ONLY: Final = 1
REPORT: Final = 50_000  # inputs
SETTLED: Final = 20_000  # inputs after which memory should grow no more
MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "PLAIN", "EXTERNAL", "x", "")


class Stream(Protocol):
    """A connection's bytes."""

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, size: int, /) -> bytes: ...

    def settimeout(self, seconds: float | None, /) -> None: ...


class Door:
    """The daemon's ways in, as a client sees them."""

    def __init__(self, daemon: Daemon, ports: dict[str, int]) -> None:
        self._socket = f"{daemon.root}/run/libvirt/libvirt-sock-ro"
        self._ports = ports
        self._context = ssl.create_default_context(cafile=str(daemon.root / "admin/cacert.pem"))
        self._context.load_cert_chain(
            daemon.root / "admin/clientcert.pem", daemon.root / "admin/clientkey.pem"
        )

    def unix(self) -> socket.socket:
        """Connect to the read-only socket."""
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(PATIENCE_S)
        end.connect(self._socket)
        return end

    def tcp(self, kind: str = "tcp") -> socket.socket:
        """Connect to a port."""
        return socket.create_connection(("127.0.0.1", self._ports[kind]), PATIENCE_S)

    def tls(self) -> ssl.SSLSocket:
        """Connect over TLS, as a client that is accepted."""
        end = self._context.wrap_socket(self.tcp("tls"), server_hostname="localhost")
        if end.recv(1) != b"\1":
            raise ConnectionError
        return end

    def hello(self) -> bytes:
        """Return the first flight of a right client."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self._context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        return outgoing.read()


class Attacker:
    """Sends inputs, and counts them by kind."""

    def __init__(self, door: Door, seed: int) -> None:
        self.sent: Counter[str] = Counter()
        self.let_in = self.closed = self.silent = 0  # connections
        self._door = door
        self._random = Random(seed)
        self._calls = arguments.calls()
        self._decoder = FrameDecoder()
        self._serial = 0

    def attack(self) -> None:
        """Open a connection by one of the ways, and misuse it until it is closed."""
        kind = self._random.choice(("flight", "garbage", "sasl", "sasl", "opened", "opened"))
        self._decoder = FrameDecoder()
        try:
            getattr(self, f"_{kind}")()
        except TimeoutError:
            self.silent += 1
        except (OSError, FrameError):  # ssl.SSLError is an OSError
            self.closed += 1

    def _flight(self) -> None:
        hello = self._door.hello()
        with self._door.tcp("tls") as end:
            for _ in range(self._random.randrange(1, 4)):
                end.sendall(havoc(hello, self._random.randbytes(40), self._random))
                self.sent["TLS flights"] += 1
            end.settimeout(0.005)
            with contextlib.suppress(TimeoutError):
                end.recv(1 << 16)

    def _garbage(self) -> None:
        with self._random.choice((self._door.unix, self._door.tcp))() as end:
            self._misuse(end, "messages before authentication")

    def _sasl(self) -> None:
        with self._random.choice((self._door.unix, self._door.tcp))() as end:
            for _ in range(self._random.randrange(1, 4)):
                if self._converse(end):
                    self.let_in += 1
                    return
            self._misuse(end, "messages before authentication")

    def _converse(self, end: socket.socket) -> bool:
        """Authenticate, mostly with a mistake; whether it went well."""
        mechanism = self._random.choice(MECHANISMS)
        client = RightClient(mechanism, "alice", "secret")
        self._call(end, "auth_sasl_init")
        name, message = "auth_sasl_start", client.message(b"")
        for _ in range(4):
            if self._random.random() < 0.5:
                message = havoc(message, b'n,,=,"\0', self._random)
            nil = int(self._random.random() < 0.1)
            values = (mechanism, nil, message) if name.endswith("start") else (nil, message)
            self.sent["SASL messages"] += 1
            reply = self._call(end, name, *values)
            if reply.header.status != Status.OK:
                return False
            complete, _, challenge = table.load().named(name).decode_ret(reply.payload)
            if complete and mechanism == "DIGEST-MD5" and end.family == socket.AF_INET:
                self._break_layer(end)
            if complete:
                return True
            name, message = "auth_sasl_step", client.message(challenge)
        return False

    def _break_layer(self, end: socket.socket) -> None:
        """Send below a security layer what the layer has not made."""
        data = self._random.randbytes(self._random.randrange(200))
        end.sendall(len(data).to_bytes(4, "big") + data)
        self.sent["packets of a layer"] += 1
        end.settimeout(0.005)
        with contextlib.suppress(TimeoutError):
            end.recv(1 << 16)

    def _opened(self) -> None:
        """Send calls over a connection that is authenticated and open, and may only read."""
        if self._random.random() < 0.5:
            end: socket.socket = self._door.tls()
        else:
            end = self._door.unix()
            client = RightClient("SCRAM-SHA-256", "alice", "secret")
            self._call(end, "auth_sasl_init")
            reply = self._call(end, "auth_sasl_start", "SCRAM-SHA-256", 0, client.message(b""))
            _, _, challenge = table.load().named("auth_sasl_start").decode_ret(reply.payload)
            self._call(end, "auth_sasl_step", 0, client.message(challenge))
        with end:
            if self._call(end, "connect_open", "qemu:///system", READ_ONLY).header.status:
                raise ConnectionError
            self._misuse(end, "messages after authentication")

    def _misuse(self, end: Stream, kind: str) -> None:
        for _ in range(MESSAGES // BATCH):
            end.settimeout(PATIENCE_S)
            end.sendall(b"".join(self._message() for _ in range(BATCH)))
            self.sent[kind] += BATCH
            end.settimeout(0.002)
            with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
                while end.recv(1 << 16):
                    pass

    def _message(self) -> bytes:
        """Make a message: a call with random arguments, now and then with damaged bytes."""
        procedure = self._random.choice(self._calls)
        kind = self._random.choice((0, 0, 0, 0, 0, 0, 0, 4, 3, 2, self._random.randrange(9)))
        self._serial += 1
        header = Header(
            procedure.program, procedure.version, procedure.number, kind, self._serial, Status.OK
        )
        payload = arguments.payload(procedure, self._random)[: 1 << 16]
        message = framing.encode(header, payload)
        if self._random.random() < 0.01:
            return havoc(message, payload, self._random)
        return message

    def _call(self, end: Stream, name: str, *values: object) -> Frame:
        procedure = table.load().named(name)
        self._serial += 1
        header = Header(
            *(procedure.program, procedure.version, procedure.number),
            *(MessageType.CALL, self._serial, Status.OK),
        )
        end.sendall(framing.encode(header, procedure.encode_args(values)))
        while True:
            data = end.recv(1 << 16)
            if not data:
                raise ConnectionError
            for frame in self._decoder.feed(data):
                if frame.header.serial == self._serial:
                    return frame


def memory(pid: int) -> int:
    """Read a process's resident memory, in KiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # authd is renewed after many layers
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def prepare(daemon: Daemon) -> dict[str, int]:
    """Write certificates, users and settings; the ports."""
    ends = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = dict(zip(("tls", "tcp"), (end.getsockname()[1] for end in ends), strict=True))
    for end in ends:
        end.close()
    ca = authority()
    write_server(daemon.root / "etc/pki", ca, issue("localhost", ca))
    write_client(daemon.root / "admin", ca, issue("admin", ca, purpose=CLIENT))
    (daemon.root / "etc/libvirt").mkdir(parents=True)
    (daemon.root / "etc/libvirt/libvirtd.conf").write_text(CONFIG.format(**ports))
    mechanisms = "scram-sha-256 scram-sha-1 digest-md5 plain external"
    write_users(daemon.root, mechanisms, alice="secret")
    return ports


def main(words: list[str]) -> int:
    """Fuzz; the exit status is 1 if the daemon failed."""
    count, seed = int(words[0]), int(words[1])
    daemon = Daemon(arguments=["--listen"])
    ports = prepare(daemon)
    with daemon:
        attacker = Attacker(Door(daemon, ports), seed)
        began, settled = time.monotonic(), dict[str, int]()
        before = processes(daemon.root)
        reported = 0
        while (done := attacker.sent.total()) < count:
            attacker.attack()
            if not settled and done > min(SETTLED, count // 2):
                settled = {name: memory(pid) for name, (pid, _, _) in before.items()}
            if done - reported > REPORT:
                reported = done
                sizes = [f"{name} {memory(pid)}" for name, (pid, _, _) in before.items()]
                rate = done / (time.monotonic() - began)
                say(f"{done} inputs, {rate:.0f}/s; KiB: {', '.join(sizes)}")
        after = processes(daemon.root)
        say(f"{dict(attacker.sent)} in {time.monotonic() - began:.0f} s")
        say(f"let in {attacker.let_in}, closed {attacker.closed}, not answered {attacker.silent}")
        died = [name for name in before if after[name][:2] != before[name][:2]]
        for name, (pid, _, _) in after.items():
            if name not in died:
                now = memory(pid)
                say(f"  {name}: {now} KiB, {now - settled.get(name, now):+d}")
        bad = unforeseen(daemon.log)
        say("".join([f"restarted: {died}; {len(bad)} unforeseen errors\n", *bad[:20]]))
        right = daemon.virsh("version", uri=daemon.uri).returncode == 0
        say(f"another client afterwards: {'served' if right else 'NOT served'}")
    return int(bool(died or bad) or not right)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
