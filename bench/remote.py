"""What is measured of clients over TLS and of clients that authenticate with SASL.

Owns: the certificates, users and settings of its daemons, and the connections it opens.

A daemon may be in a network namespace of its own: a connection is opened from inside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.client_benchmarks import (
    Measure,
    Options,
    Target,
    calls_per_second,
    median_us,
    timed,
)
from tests.certificates import CLIENT, authority, issue, write_client, write_server
from tests.clients.libvirt_binding import libvirt
from tests.clients.namespace import CLONE_NEWNET
from tests.unit.authd.sasl_client import write_users

USER: Final = "alice"
PASSWORD: Final = "secret"
CREDENTIALS: Final = f"""[credentials-x]
authname={USER}
password={PASSWORD}
[auth-libvirt-default]
credentials=x
"""
#: On plain TCP a mechanism must encrypt: DIGEST-MD5 is the one that does so without a KDC.
SETTINGS: Final = """
listen_tcp = 1
listen_addr = "127.0.0.1"
tls_port = "{tls}"
tcp_port = "{tcp}"
auth_tcp = "sasl"
auth_tls = "none"
auth_unix_ro = "sasl"
tcp_min_ssf = 112
ca_file = "{seen_as}/pki/CA/cacert.pem"
cert_file = "{seen_as}/pki/libvirt/servercert.pem"
key_file = "{seen_as}/pki/libvirt/private/serverkey.pem"
max_clients = 5000
max_queued_clients = 1000
max_anonymous_clients = 1000
"""
RSA_BITS: Final = 3072  # what certtool makes, by which libvirt's documentation goes
START_S: Final = 20.0
CALLS: Final = 500
CONNECTS: Final = 60
FLAGS: Final = [libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE]
KINDS: Final = ("tls", "tcp")


class Doors:
    """The settings of two daemons that clients reach from afar, and how they are reached."""

    def __init__(self, folder: Path, *, rsa_bits: int = RSA_BITS) -> None:
        """Make certificates and choose ports.

        Args:
            folder: for the client's files.
            rsa_bits: of the keys; 0: keys of an elliptic curve, which cost clients less.
        """
        self._ca = authority(rsa_bits=rsa_bits)
        self._server = issue("localhost", self._ca, rsa_bits=rsa_bits)
        self._folder = folder
        client = issue("admin", self._ca, purpose=CLIENT, rsa_bits=rsa_bits)
        write_client(folder, self._ca, client)
        (folder / "auth.conf").write_text(CREDENTIALS)
        self.ports = dict(zip(KINDS, free_ports(len(KINDS)), strict=True))

    def fill(self, settings: Path, seen_as: str) -> None:
        """Write what a daemon reads into its etc/libvirt.

        Args:
            settings: the folder, as we see it.
            seen_as: the same, as the daemon does.
        """
        write_server(settings / "pki", self._ca, self._server)
        (settings / "libvirtd.conf").write_text(SETTINGS.format(seen_as=seen_as, **self.ports))
        # Ours reads etc/sasl2 below its root, stock what SASL_CONF_PATH names.
        write_users(settings, "scram-sha-256 digest-md5", **{USER: PASSWORD})
        config = settings / "etc/sasl2/libvirt.conf"
        text = config.read_text().replace(str(settings), seen_as)
        for folder in (settings / "sasl2", settings.parent / "sasl2"):
            folder.mkdir(exist_ok=True)
            (folder / "libvirt.conf").write_text(text)

    def uri(self, door: str, target: Target) -> str:
        """Return the address of a daemon by a door: "tls", "tcp" or "unix"."""
        if door == "tls":
            return f"qemu+tls://localhost:{self.ports['tls']}/system?pkipath={self._folder}"
        file = f"authfile={self._folder}/auth.conf"
        if door == "tcp":
            return f"qemu+tcp://127.0.0.1:{self.ports['tcp']}/system?{file}"
        return f"{target.uri}-ro&{file}"


def free_ports(count: int) -> list[int]:
    """Find ports of the loopback that nothing listens on."""
    ends = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [end.getsockname()[1] for end in ends]
    for end in ends:
        end.close()
    return ports


@contextlib.contextmanager
def network_of(target: Target) -> Iterator[None]:
    """Be in the daemon's network namespace, for this thread."""
    if target.network is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before, open(target.network) as inside:
        if libc.setns(inside.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            if libc.setns(before.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")


def opened(target: Target, door: str) -> Any:
    """Open a connection by a door; the namespace must be the daemon's."""
    assert target.doors is not None
    auth = [FLAGS, lambda *_: -1, None]  # the file has the name and the password
    return libvirt.openAuth(target.doors.uri(door, target), auth, 0)


def wait_open(target: Target) -> None:
    """Wait until the daemon listens: stock binds its Unix socket first."""
    assert isinstance(target.doors, Doors)
    until = time.monotonic() + START_S
    with network_of(target):
        for port in target.doors.ports.values():
            while True:
                with socket.socket() as end:
                    if end.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if time.monotonic() > until:
                    raise TimeoutError(f"{target.name} does not listen on port {port}")
                time.sleep(0.05)


def connects(door: str) -> Callable[[Target, Options], float]:
    """Open a connection and close it."""

    def run(target: Target, _: Options) -> float:
        with network_of(target):
            return median_us(timed(lambda: opened(target, door).close(), CONNECTS))

    return run


def throughput(door: str, clients: int) -> Callable[[Target, Options], float]:
    """Make calls on as many connections at once."""

    def run(target: Target, _: Options) -> float:
        with network_of(target):
            links = [opened(target, door) for _ in range(clients)]
        return calls_per_second(links, CALLS)

    return run


def first_call(door: str) -> Callable[[Target, Options], float]:
    """Measure the latency of a call on an open connection."""

    def run(target: Target, _: Options) -> float:
        with network_of(target):
            link = opened(target, door)
        try:
            return statistics.median(timed(link.getLibVersion, 1000)) * 1e6
        finally:
            link.close()

    return run


MEASURES: Final = (
    Measure("TLS: open + close", "us", "<= 0.8 x", connects("tls")),
    Measure("SASL DIGEST-MD5, TCP: open + close", "us", "<= 0.8 x", connects("tcp")),
    Measure("SASL SCRAM-SHA-256: open + close", "us", "<= 0.8 x", connects("unix")),
    Measure("TLS: simple call", "us", "", first_call("tls")),
    Measure("TLS: calls/s, 1 client", "1/s", "", throughput("tls", 1)),
    Measure("TLS: calls/s, 8 clients", "1/s", ">= 1.5 x", throughput("tls", 8)),
    Measure("SASL layer: calls/s, 1 client", "1/s", "", throughput("tcp", 1)),
    Measure("SASL layer: calls/s, 8 clients", "1/s", "", throughput("tcp", 8)),
)
