"""`./dev bench`: what people wait for, on our daemon and beside a stock one in the same run.

    ./dev bench [--stock SOCKET] [--stock-chroot DIR] [--defined N] [--running N]
                [--only WORD …] [--json FILE]

SOCKET is the libvirt-sock of a stock libvirtd that is running on this machine; without it only our
results are printed. Every row is the median of its samples, through Debian's own libvirt binding;
a ratio is ours / stock, and the target is the issue's. The machine is noisy: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from bench.client_benchmarks import MEASURES, Options, Row, Target
from bench.daemon_only import own_rows
from tests.clients.daemon import Daemon


def compare(options: argparse.Namespace) -> list[Row]:
    """Run every chosen measure against ours, then stock, and give the rows in order."""
    rows: list[Row] = []
    sizes = Options(defined=options.defined, running=options.running)
    with Daemon() as daemon:
        ours = Target("virtvisor", daemon.uri, daemon.root / "images")
        targets = [ours]
        if options.stock:
            uri = f"qemu+unix:///system?socket={options.stock}"
            chroot = Path(options.stock_chroot or "/")
            seen = Path(options.stock_images)
            targets.append(Target("stock", uri, chroot / seen.relative_to("/"), seen))
        for measure in MEASURES:
            if options.only and not any(text in measure.name for text in options.only):
                continue
            values = [measure.run(target, sizes) for target in targets]
            stock = values[1] if options.stock else None
            row = Row(measure.name, measure.unit, values[0], stock, target=measure.target)
            rows.append(row)
            sys.stdout.write(row.line() + "\n")
            sys.stdout.flush()
    return rows


def main() -> int:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stock", metavar="SOCKET", help="libvirt-sock of a stock libvirtd")
    parser.add_argument("--stock-images", default="/tmp", help="a folder its QEMU may write to")
    parser.add_argument("--stock-chroot", metavar="DIR", help="the root folder it runs in")
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
