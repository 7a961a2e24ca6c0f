"""What many clients from afar cost: idle ones over TLS, and ones that come and go.

    python -m bench.remote_load [--with-stock [DIR]] [--idle N] [--seconds N]

Owns: the daemons it starts, and the connections to them.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import resource
import socket
import ssl
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.client_benchmarks import Target, timed
from bench.ours import own_daemon, own_side
from bench.process_times import private_kib, run_ms
from bench.remote import Doors, network_of, opened, wait_open
from bench.stock import CHROOT, Stock
from tests.clients.libvirt_binding import libvirt

IDLE: Final = 1_000
SECONDS: Final = 60
RATE: Final = 200  # connections a second
SAMPLES: Final = 2_000
SETTLE_S: Final = 12.0  # longer than a TLS handshake may take
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: the close sends RST

Pids = Callable[[], list[int]]


def latency(target: Target, door: str) -> tuple[float, float]:
    """Return the median and the 99th percentile of a call, in µs."""
    with network_of(target):
        link = libvirt.open(target.uri) if door == "local" else opened(target, door)
    try:
        samples = sorted(timed(link.getLibVersion, SAMPLES))
    finally:
        link.close()
    return statistics.median(samples) * 1e6, samples[SAMPLES * 99 // 100] * 1e6


def descriptors(pids: list[int]) -> int:
    """Count the open descriptors of processes."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def idle_clients(target: Target, pids: Pids, count: int) -> Iterator[tuple[str, float]]:
    """Measure what idle TLS clients take."""
    latency(target, "tls")  # the first client's costs are not theirs
    for door in ("local", "tls"):
        for name, value in zip(("median", "99 %"), latency(target, door), strict=True):
            yield f"call of a {door} client alone, {name} (us)", value
    before = private_kib(pids())
    began = time.perf_counter()
    with network_of(target):
        links = [opened(target, "tls") for _ in range(count)]
    yield f"{count} TLS clients opened in (s)", time.perf_counter() - began
    yield "memory of each (KiB)", (private_kib(pids()) - before) / count
    for door in ("local", "tls"):
        for name, value in zip(("median", "99 %"), latency(target, door), strict=True):
            yield f"call of a {door} client beside them, {name} (us)", value
    busy = run_ms(pids())
    time.sleep(5)
    yield "processor time while all are idle (ms/s)", (run_ms(pids()) - busy) / 5
    for link in links:
        link.close()
    time.sleep(1)
    yield "memory kept of each when they are gone (KiB)", (private_kib(pids()) - before) / count


class Comers:
    """Connections that are opened and dropped, at each point of their life in turn."""

    def __init__(self, doors: Doors, context: ssl.SSLContext) -> None:
        self._tls, self._tcp = doors.ports["tls"], doors.ports["tcp"]
        self._context = context
        self._kinds = itertools.cycle(
            (self.silent, self.hello, self.garbage, self.accepted, self.reset, self.tcp)
        )
        self.failed = 0

    def __call__(self) -> None:
        """Open the next one and drop it."""
        try:
            next(self._kinds)()
        except OSError:
            self.failed += 1

    def _connect(self, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=10)

    def silent(self) -> None:
        """Say nothing over TLS."""
        self._connect(self._tls).close()

    def hello(self) -> None:
        """Leave in the middle of the handshake."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = self._context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        with self._connect(self._tls) as end:
            end.sendall(outgoing.read())

    def garbage(self) -> None:
        """Say what is no TLS."""
        with self._connect(self._tls) as end:
            end.sendall(b"GET / HTTP/1.0\r\n\r\n")

    def accepted(self) -> None:
        """Leave after the byte of acceptance."""
        with self._context.wrap_socket(
            self._connect(self._tls), server_hostname="localhost"
        ) as end:
            assert end.recv(1) == b"\1"

    def reset(self) -> None:
        """Leave with RST in the middle of a message."""
        with self._connect(self._tcp) as end:
            end.sendall(b"\0\0\0\x1c\x20")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def tcp(self) -> None:
        """Begin SASL, and leave before the answer."""
        header = struct.pack(">7I", 28, 0x20008086, 1, 68, 0, 1, 0)  # AUTH_SASL_INIT
        with self._connect(self._tcp) as end:
            end.sendall(header)


def comers_and_goers(
    target: Target, doors: Doors, folder: Path, pids: Pids, seconds: int
) -> Iterator[tuple[str, float]]:
    """Measure what connections that are opened and dropped leave."""
    context = ssl.create_default_context(cafile=str(folder / "cacert.pem"))
    context.load_cert_chain(folder / "clientcert.pem", folder / "clientkey.pem")
    comers = Comers(doors, context)
    with network_of(target):
        link = libvirt.open(target.uri)
        for _ in range(RATE):  # the first ones' costs are no leak
            comers()
        time.sleep(1)
        memory, files = private_kib(pids()), descriptors(pids())
        count, waits, began = 0, [], time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            if count < passed * RATE:
                comers()
                count += 1
            else:
                waits += timed(link.getLibVersion, 1)
                time.sleep(0.001)
        spent = time.monotonic() - began
        link.close()
    yield "connections a second", count / spent
    yield "of them failed", comers.failed
    waits.sort()
    yield "call beside them, median (us)", statistics.median(waits) * 1e6
    yield "call beside them, 99 % (us)", waits[len(waits) * 99 // 100] * 1e6
    yield "memory gained at once (KiB)", private_kib(pids()) - memory
    time.sleep(SETTLE_S)
    yield "memory gained (KiB)", private_kib(pids()) - memory
    yield "descriptors gained", descriptors(pids()) - files


def main() -> int:
    """Print what each daemon takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with-stock", metavar="DIR", type=Path, nargs="?", const=CHROOT)
    parser.add_argument("--idle", type=int, default=IDLE)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        doors = Doors(folder, rsa_bits=0)
        daemon = stack.enter_context(
            own_daemon(lambda settings: doors.fill(settings, str(settings)), ["--listen"])
        )
        ours = Target("virtvisor", daemon.uri, daemon.root, doors=doors)
        sides: list[tuple[Target, Pids]] = [(ours, own_side(daemon).pids)]
        if options.with_stock:
            stock = stack.enter_context(
                Stock(
                    options.with_stock,
                    lambda settings: doors.fill(settings, "/etc/libvirt"),
                    ["--listen"],
                )
            )
            beside = Target("stock", stock.uri, stock.root, network=stock.network, doors=doors)
            sides.append((beside, stock.pids))
        for target, pids in sides:
            wait_open(target)
            for name, value in itertools.chain(
                idle_clients(target, pids, options.idle) if options.idle else (),
                comers_and_goers(target, doors, folder, pids, options.seconds),
            ):
                sys.stdout.write(f"{target.name:10s} {name:52s} {value:10.1f}\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
