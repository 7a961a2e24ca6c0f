"""The speed and scale of one host: single calls, thousands of objects, a hundred guests.

    .venv/bin/python -m bench.scale [--with-stock [DIR]] [--only WORD …] [--samples N]

Ours and stock take turns, a block of calls each, on the same file systems and in network namespaces
of their own. Wall times are medians; the processor time is that of the daemon's processes, without
guests and tools, and is what a busy machine blurs least. A ratio is ours / stock. DIR as in
`bench/run.py`. It needs root, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.crowd import CROWDS, run_crowd
from bench.ours import own_daemon, own_side
from bench.scale_calls import COMPARISONS
from bench.sides import HEADER, Side, compare, show
from bench.stock import CHROOT, Stock
from tests.clients.namespace import own_network, shown


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with-stock", metavar="DIR", type=Path, nargs="?", const=CHROOT)
    parser.add_argument("--only", nargs="*", help="rows whose name contains one of these strings")
    options = parser.parse_args()

    def is_chosen(name: str) -> bool:
        return not options.only or any(word in name for word in options.only)

    sys.stdout.write(HEADER + "\n")
    with own_network():
        shown("ip", "link", "set", "lo", "up")
        chosen = [row for row in COMPARISONS if is_chosen(row.name)]
        if chosen:
            with ExitStack() as stack:
                sides = both(stack, options.with_stock)
                for row in chosen:
                    show(row, compare(row, sides))
        for crowd in CROWDS:
            if is_chosen(crowd.name):
                run_crowd(crowd, options.with_stock)
    return 0


def both(stack: ExitStack, chroot: Path | None) -> list[Side]:
    """Start ours, and stock where there is a chroot."""
    sides = [own_side(stack.enter_context(own_daemon()))]
    if chroot is not None:
        sides.append(stack.enter_context(Stock(chroot)).side)
    return sides


if __name__ == "__main__":
    sys.exit(main())
