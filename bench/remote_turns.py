"""Connections from afar, ours and stock's in turns: wall and processor time of open + close.

    python -m bench.remote_turns [--with-stock [DIR]] [--small-keys]

Owns: the daemons it starts. On a busy machine blocks in turns say more than one row after the
other (`bench.run`), and the processor time more than either.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.client_benchmarks import Target
from bench.ours import own_daemon, own_side
from bench.remote import RSA_BITS, Doors, network_of, opened, wait_open
from bench.sides import HEADER, Action, Comparison, Side, compare, show
from bench.stock import CHROOT, Stock

#: Ways in, as `Doors.uri` names them.
DOORS: Final = {"tls": "TLS", "tcp": "SASL DIGEST-MD5, TCP", "unix": "SASL SCRAM-SHA-256"}


def row(door: str, targets: dict[str, Target]) -> Comparison:
    """Make the comparison of a way in."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        target = targets[side.name]

        def connect(_: int) -> None:
            opened(target, door).close()

        def inside(number: int) -> None:
            with network_of(target):
                connect(number)

        inside(0)  # the first client's costs are not the others'
        yield inside

    return Comparison(f"{DOORS[door]}: open + close", "<= 0.8 x", prepare)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with-stock", metavar="DIR", type=Path, nargs="?", const=CHROOT)
    parser.add_argument("--small-keys", action="store_true", help="P-256 instead of RSA 3072")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        doors = Doors(folder, rsa_bits=0 if options.small_keys else RSA_BITS)
        daemon = stack.enter_context(
            own_daemon(lambda settings: doors.fill(settings, str(settings)), ["--listen"])
        )
        sides = [own_side(daemon)]
        targets = {sides[0].name: Target(sides[0].name, daemon.uri, daemon.root, doors=doors)}
        if options.with_stock:
            stock = stack.enter_context(
                Stock(
                    options.with_stock,
                    lambda settings: doors.fill(settings, "/etc/libvirt"),
                    ["--listen"],
                )
            )
            sides.append(stock.side)
            beside = Target("stock", stock.uri, stock.root, network=stock.network, doors=doors)
            targets[stock.side.name] = beside
        for target in targets.values():
            wait_open(target)
        sys.stdout.write(HEADER + "\n")
        for door in DOORS:
            chosen = row(door, targets)
            show(chosen, compare(chosen, sides))
    return 0


if __name__ == "__main__":
    sys.exit(main())
