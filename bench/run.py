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
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import remote
from bench.client_benchmarks import MEASURES, Measure, Options, Row, Target
from bench.daemon_only import own_rows
from bench.ours import own_daemon
from bench.stock import CHROOT, Stock


def compare(options: argparse.Namespace) -> list[Row]:
    """Run every chosen measure against ours, then stock, and give the rows in order."""
    rows: list[Row] = []
    for measures, start in ((MEASURES, local_targets), (remote.MEASURES, remote_targets)):
        chosen = [each for each in measures if is_chosen(each, options.only)]
        if not chosen:
            continue
        with ExitStack() as stack:
            targets = start(stack, options.with_stock)
            for measure in chosen:
                rows.append(measured(measure, targets, options))
                sys.stdout.write(rows[-1].line() + "\n")
                sys.stdout.flush()
    return rows


def is_chosen(measure: Measure, only: list[str] | None) -> bool:
    """Whether a row is asked for."""
    return not only or any(text in measure.name for text in only)


def measured(measure: Measure, targets: list[Target], options: argparse.Namespace) -> Row:
    """Measure the daemons in turns."""
    sizes = Options(defined=options.defined, running=options.running)
    rounds = [[measure.run(target, sizes) for target in targets] for _ in range(options.rounds)]
    values = [statistics.median(each) for each in zip(*rounds, strict=True)]
    beside = values[1] if len(values) > 1 else None
    return Row(measure.name, measure.unit, values[0], beside, target=measure.target)


def local_targets(stack: ExitStack, chroot: Path | None) -> list[Target]:
    """Start daemons whose clients are on the same host."""
    daemon = stack.enter_context(own_daemon())
    targets = [Target("virtvisor", daemon.uri, daemon.root / "images")]
    if chroot:
        stock = stack.enter_context(Stock(chroot))
        targets.append(Target("stock", stock.uri, stock.root / "tmp", Path("/tmp")))
    return targets


def remote_targets(stack: ExitStack, chroot: Path | None) -> list[Target]:
    """Start daemons with TLS and SASL."""
    doors = remote.Doors(Path(stack.enter_context(tempfile.TemporaryDirectory())))

    def fill(settings: Path) -> None:
        doors.fill(settings, str(settings))

    daemon = stack.enter_context(own_daemon(fill, ["--listen"]))
    targets = [Target("virtvisor", daemon.uri, daemon.root / "images", doors=doors)]
    if chroot:
        stock = stack.enter_context(
            Stock(chroot, lambda settings: doors.fill(settings, "/etc/libvirt"), ["--listen"])
        )
        targets.append(
            Target("stock", stock.uri, stock.root / "tmp", Path("/tmp"), stock.network, doors)
        )
    for target in targets:
        remote.wait_open(target)
    return targets


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
