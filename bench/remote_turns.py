"""Connections from afar, ours and stock's in turns: open + close, and calls of eight clients.

    python -m bench.remote_turns [--with-stock [DIR]] [--small-keys] [--samples N]

Owns: the daemons and the clients it starts. On a busy machine blocks in turns say more than one row
after the other (`bench.run`), the fastest tenth more than the median, and the processor time more
than either.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.client_benchmarks import Target
from bench.ours import own_daemon, own_side
from bench.process_times import run_ms, share_niceness
from bench.remote import RSA_BITS, Doors, network_of, opened, wait_open
from bench.stock import CHROOT, Stock

#: Ways in, as `Doors.uri` names them.
DOORS: Final = {"tls": "TLS", "tcp": "SASL DIGEST-MD5, TCP", "unix": "SASL SCRAM-SHA-256"}
SAMPLES: Final = 320
BLOCK: Final = 20  # connections of a side in a row
CLIENTS: Final = 8
CALLS: Final = 500  # of each client in a block
BLOCKS: Final = 16  # of calls
WARM_UP_S: Final = 3.0  # records of users are kept once their file has been the same for 2 s
HEADER: Final = (
    f"{'what (daemon: its processor time)':42s} {'':8s} {'ours':>9s} {'stock':>9s} {'ratio':>6s}"
)


@dataclass(frozen=True)
class Daemon:
    """A daemon under measurement."""

    target: Target
    pids: Callable[[], list[int]]


@dataclass
class Spent:
    """What one side took, in ms for each connection or call."""

    wall: list[float] = field(default_factory=list)
    daemon: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)


def open_and_close(daemons: Sequence[Daemon], door: str, samples: int) -> list[Spent]:
    """Open connections and close them, a block of each side in turn."""
    spent = [Spent() for _ in daemons]
    for first in range(0, samples + BLOCK, BLOCK):
        for daemon, times in zip(daemons, spent, strict=True):
            with network_of(daemon.target):
                before, mine, walls = run_ms(daemon.pids()), time.process_time(), list[float]()
                for _ in range(BLOCK):
                    began = time.perf_counter()
                    opened(daemon.target, door).close()
                    walls.append((time.perf_counter() - began) * 1e3)
                mine = time.process_time() - mine
                used = run_ms(daemon.pids()) - before
            if first:  # the first block's costs are not the others'
                times.wall += walls
                times.daemon.append(used / BLOCK)
                times.client.append(mine * 1e3 / BLOCK)
    return spent


@contextmanager
def callers(daemon: Daemon) -> Iterator[list[subprocess.Popen[str]]]:
    """Connect clients over TLS, each in a process of its own."""
    assert isinstance(daemon.target.doors, Doors)
    argv = [sys.executable, "-m", "bench.caller", daemon.target.doors.uri("tls", daemon.target)]
    with ExitStack() as stack:
        processes = []
        with network_of(daemon.target):
            for _ in range(CLIENTS):
                process = subprocess.Popen(
                    argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
                processes.append(process)
                stack.callback(process.wait)
                assert process.stdin is not None
                stack.callback(process.stdin.close)
        for process in processes:
            assert answer(process) == "ready"
        yield processes


def answer(process: subprocess.Popen[str]) -> str:
    """Read a client's line."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def calls_at_once(daemons: Sequence[Daemon]) -> list[Spent]:
    """Have each side's clients call at once, in turns."""
    spent = [Spent() for _ in daemons]
    with ExitStack() as stack:
        groups = [stack.enter_context(callers(daemon)) for daemon in daemons]
        for number in range(BLOCKS + 1):
            for daemon, group, times in zip(daemons, groups, spent, strict=True):
                before, began = run_ms(daemon.pids()), time.perf_counter()
                for process in group:
                    assert process.stdin is not None
                    process.stdin.write(f"{CALLS}\n")
                    process.stdin.flush()
                mine = sum(float(answer(process)) for process in group)
                wall = time.perf_counter() - began
                used = run_ms(daemon.pids()) - before
                if number:
                    calls = CLIENTS * CALLS
                    times.wall.append(wall * 1e3 / calls)
                    times.daemon.append(used / calls)
                    times.client.append(mine / calls)
    return spent


def tenth(values: Sequence[float]) -> float:
    """Return what the fastest tenth of them stays below."""
    return sorted(values)[len(values) // 10]


def show(name: str, target: str, spent: Sequence[Spent], unit: float = 1.0) -> None:
    """Print a row's figures.

    Args:
        name: of the row.
        target: the ratio to reach.
        spent: by ours, then by stock.
        unit: what a millisecond is multiplied by.
    """
    figures: tuple[tuple[str, Callable[[Spent], float]], ...] = (
        ("median", lambda each: statistics.median(each.wall)),
        ("tenth", lambda each: tenth(each.wall)),
        ("daemon", lambda each: statistics.median(each.daemon)),
        ("client", lambda each: statistics.median(each.client)),
    )
    for label, figure in figures:
        values = [figure(each) * unit for each in spent]
        beside = f"{values[1]:9.3f} {values[0] / values[1]:6.2f}" if len(values) > 1 else ""
        sys.stdout.write(f"{name:42s} {label:8s} {values[0]:9.3f} {beside}  {target}\n")
        name = target = ""
    sys.stdout.flush()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with-stock", metavar="DIR", type=Path, nargs="?", const=CHROOT)
    parser.add_argument("--small-keys", action="store_true", help="P-256 instead of RSA 3072")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        doors = Doors(folder, rsa_bits=0 if options.small_keys else RSA_BITS)
        ours = stack.enter_context(
            own_daemon(lambda settings: doors.fill(settings, str(settings)), ["--listen"])
        )
        target = Target("virtvisor", ours.uri, ours.root, doors=doors)
        daemons = [Daemon(target, own_side(ours).pids)]
        if options.with_stock:
            stock = stack.enter_context(
                Stock(
                    options.with_stock,
                    lambda settings: doors.fill(settings, "/etc/libvirt"),
                    ["--listen"],
                )
            )
            beside = Target("stock", stock.uri, stock.root, network=stock.network, doors=doors)
            daemons.append(Daemon(beside, stock.pids))
        for daemon in daemons:
            wait_open(daemon.target)
            share_niceness(daemon.pids())
        time.sleep(WARM_UP_S)
        sys.stdout.write(f"load {os.getloadavg()[0]:.0f}\n{HEADER}\n")
        for door, title in DOORS.items():
            spent = open_and_close(daemons, door, options.samples)
            show(f"{title}: open + close (ms)", "<= 0.8", spent)
        show(f"TLS: a call of {CLIENTS} clients (us)", "<= 0.67", calls_at_once(daemons), 1e3)
        sys.stdout.write(f"load {os.getloadavg()[0]:.0f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
