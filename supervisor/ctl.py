"""virtvisorctl: shows the daemon's process tree.

Owns: its command line and the table. May touch: the daemon's control socket.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from supervisor.messages.root import ProcessStatus
from supervisor.paths import Paths

ASK_S: Final = 10.0
NO_DAEMON: Final = 1
COLUMNS: Final = ("NAME", "PID", "STATE", "RESTARTS", "UPTIME", "PRIVATE")


def main() -> int:
    """Run the command; the console script."""
    parser = argparse.ArgumentParser(
        prog="virtvisorctl", description="Looks into a running libvirtd. See docs/virtvisorctl.md."
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="the daemon's --root")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="show every process of the tree")
    status.add_argument("--json", action="store_true", help="as a list of JSON objects")
    options = parser.parse_args()
    session = os.geteuid() != 0 and options.root is None
    root = options.root.absolute() if options.root else Path("/")
    paths = Paths.session(os.environ) if session else Paths.system(root)
    try:
        answer = ask(paths.control_socket())
    except (OSError, msgspec.MsgspecError) as problem:
        sys.stderr.write(
            f"virtvisorctl: no daemon answers at {paths.control_socket()}: {problem}\n"
        )
        return NO_DAEMON
    rows = msgspec.json.decode(answer, type=list[ProcessStatus])
    sys.stdout.write(as_json(rows) if options.json else table(rows))
    return 0


def ask(path: Path) -> bytes:
    """Ask the daemon for its processes.

    Raises:
        OSError: nobody answers there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(ASK_S)
        end.connect(str(path))
        end.sendall(b'{"ask":"status"}\n')
        parts = []
        while part := end.recv(65536):
            parts.append(part)
    return b"".join(parts)


def as_json(rows: Sequence[ProcessStatus]) -> str:
    """The processes as JSON."""
    return json.dumps(msgspec.to_builtins(rows), indent=1) + "\n"


def table(rows: Sequence[ProcessStatus]) -> str:
    """The processes as a table, children under the root."""
    cells = [COLUMNS]
    for row in rows:
        name = row.name if row.name == "root" else f"  {row.name}"
        pid = str(row.pid or "-")
        memory = f"{row.private_kib / 1024:.1f} MiB"
        cells.append((name, pid, row.state, str(row.restarts), uptime(row.uptime_s), memory))
    widths = [max(len(line[place]) for line in cells) for place in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join(lines) + "\n"


def uptime(seconds: float) -> str:
    """A time span in its two largest units."""
    for size, unit, lower in ((86400, "d", 3600), (3600, "h", 60), (60, "m", 1)):
        if seconds >= size:
            small = {3600: "h", 60: "m", 1: "s"}[lower]
            return f"{int(seconds // size)}{unit}{int(seconds % size // lower)}{small}"
    return f"{seconds:.0f}s"


if __name__ == "__main__":
    sys.exit(main())
