"""`./dev bench`: what people wait for, on our daemon and beside a stock one in the same run.

    ./dev bench [--with-stock [DIR]] [--rounds N] [--defined N] [--running N]
                [--only WORD …] [--json FILE]

DIR is a chroot with stock libvirt (/srv/stock; `python -m bench.stock --make DIR` installs one);
its libvirtd runs in namespaces of its own. Without it only our results are printed. Every row is
the median of its samples, through Debian's own libvirt binding; ours and stock take turns, N times
each. A ratio is ours / stock. The machine is noisy: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench.client_benchmarks import MEASURES, Options, Row, Target
from bench.daemon_only import own_rows
from bench.ours import own_daemon
from bench.stock import CHROOT, Stock


def compare(options: argparse.Namespace) -> list[Row]:
    """Run every chosen measure against ours, then stock, and give the rows in order."""
    rows: list[Row] = []
    sizes = Options(defined=options.defined, running=options.running)
    with ExitStack() as stack:
        daemon = stack.enter_context(own_daemon())
        targets = [Target("virtvisor", daemon.uri, daemon.root / "images")]
        if options.with_stock:
            stock = stack.enter_context(Stock(options.with_stock))
            targets.append(Target("stock", stock.uri, stock.root / "tmp", Path("/tmp")))
        for measure in MEASURES:
            if options.only and not any(text in measure.name for text in options.only):
                continue
            rounds = [
                [measure.run(target, sizes) for target in targets] for _ in range(options.rounds)
            ]
            values = [statistics.median(each) for each in zip(*rounds, strict=True)]
            beside = values[1] if len(values) > 1 else None
            row = Row(measure.name, measure.unit, values[0], beside, target=measure.target)
            rows.append(row)
            sys.stdout.write(row.line() + "\n")
            sys.stdout.flush()
    return rows


def main() -> int:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with-stock", metavar="DIR", type=Path, nargs="?", const=CHROOT)
    parser.add_argument("--rounds", type=int, default=1, help="turns of each daemon")
    parser.add_argument("--defined", type=int, default=500)
    parser.add_argument("--running", type=int, default=10)
    parser.add_argument("--only", nargs="*", help="rows whose name contains one of these strings")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.stdout.write(Row.header() + "\n")
    rows = compare(options)
    if not options.only:
        for row in own_rows():
            rows.append(row)
            sys.stdout.write(row.line() + "\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
