"""virtvisorctl: show the daemon's processes; explain its access control; check a takeover.

Owns: its command line and the table.
May touch: the daemon's admin socket, and /proc for guests' memory.
Exit status: 0 success, 1 no daemon replies or nothing can be read, 2 invalid command line, 3 a
process is degraded or something would not come along, 4 what is asked for is refused.
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

from supervisor.ctl import access_explain
from supervisor.ctl.takeover import find_all, format_findings
from supervisor.messages.root import AccessReply, AdminRequest, ProcessState, ProcessStatus
from supervisor.runtime.paths import Paths
from supervisor.runtime.process_stats import process_row

QUERY_S: Final = 10.0
NO_DAEMON: Final = 1
DEGRADED: Final = 3
LEFT_BEHIND: Final = 3
COLUMNS: Final = ("NAME", "PID", "STATE", "RESTARTS", "UPTIME", "PRIVATE")


def main() -> int:
    """Run the command; the console script."""
    parser = argparse.ArgumentParser(
        prog="virtvisorctl", description="Query a running libvirtd. See docs/virtvisorctl.md."
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="the daemon's --root")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="show every process of the tree")
    status.add_argument("--json", action="store_true", help="as a list of JSON objects")
    access_explain.add_arguments(commands)
    takeover = commands.add_parser(
        "takeover", help="say what comes along when libvirt's daemon and this one change places"
    )
    takeover.add_argument("--check", action="store_true", required=True, help="change nothing")
    options = parser.parse_args()
    session = os.geteuid() != 0 and options.root is None
    root = options.root.absolute() if options.root else Path("/")
    paths = Paths.session(os.environ) if session else Paths.system(root)
    if options.command == "takeover":
        return check_takeover(paths)
    return ask(parser, options, paths)


def check_takeover(paths: Paths) -> int:
    """Run `takeover --check`; return the exit status."""
    try:
        findings = find_all(paths)
    except OSError as error:
        sys.stderr.write(f"virtvisorctl: {error.filename} cannot be read: {error.strerror}\n")
        return NO_DAEMON
    sys.stdout.write(format_findings(findings))
    return LEFT_BEHIND if any(finding.obstacle for finding in findings) else 0


def ask(parser: argparse.ArgumentParser, options: argparse.Namespace, paths: Paths) -> int:
    """Run a command that asks the daemon; return the exit status."""
    try:
        if options.command == "access":
            return explain(parser, options, paths.control_socket())
        reply = query(paths.control_socket(), AdminRequest(ask="status"))
        rows = msgspec.json.decode(reply, type=list[ProcessStatus])
    except (OSError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"virtvisorctl: no daemon answers at {paths.control_socket()}: {error}\n")
        return NO_DAEMON
    sys.stdout.write(format_json(rows) if options.json else format_table(rows))
    return DEGRADED if any(row.state == ProcessState.DEGRADED for row in rows) else 0


def explain(parser: argparse.ArgumentParser, options: argparse.Namespace, path: Path) -> int:
    """Ask which rule of access control decides, and show it; the exit status.

    Raises:
        OSError, MsgspecError: no daemon replies.
    """
    try:
        request = access_explain.request_of(options)
    except access_explain.UnknownNameError as error:
        parser.error(str(error))
    reply = query(path, AdminRequest(ask="access", access=request))
    answer = msgspec.json.decode(reply, type=AccessReply)
    if answer.explanation is None:
        sys.stderr.write(f"virtvisorctl: {answer.error}\n")
        return NO_DAEMON
    sys.stdout.write(access_explain.format_explanation(options, answer.explanation))
    return access_explain.exit_status(answer.explanation)


def query(path: Path, request: AdminRequest) -> bytes:
    """Send a request and read the reply.

    Raises:
        OSError: no daemon replies.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(QUERY_S)
        end.connect(str(path))
        end.sendall(msgspec.json.encode(request) + b"\n")
        parts = []
        while part := end.recv(65536):
            parts.append(part)
    return b"".join(parts)


def format_json(rows: Sequence[ProcessStatus]) -> str:
    """Format the processes as JSON."""
    return json.dumps(msgspec.to_builtins(rows), indent=1) + "\n"


def format_table(rows: Sequence[ProcessStatus]) -> str:
    """Format the processes as a table: children below the root, a guest below its worker."""
    cells = [COLUMNS]
    for row in rows:
        cells.append(format_row(row, indent="" if row.name == "root" else "  "))
        if row.guest_pid:
            cells.append(format_row(guest_row(row), indent="    "))
    widths = [max(len(cell[place]) for cell in cells) for place in range(len(COLUMNS))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True)).rstrip()
        for cell in cells
    ]
    return "\n".join(lines) + "\n"


def format_row(row: ProcessStatus, *, indent: str) -> tuple[str, str, str, str, str, str]:
    """Format the cells of one process."""
    return (
        f"{indent}{row.name}",
        str(row.pid or "-"),
        row.state,
        str(row.restarts),
        format_uptime(row.uptime_s),
        f"{row.private_kib / 1024:.1f} MiB",
    )


def guest_row(worker: ProcessStatus) -> ProcessStatus:
    """Build the row of a worker's guest, as far as this user may read its /proc."""
    name = worker.name.partition(":")[2]
    return process_row(f"guest {name}", worker.guest_pid, 0)


def format_uptime(seconds: float) -> str:
    """Format seconds in their two largest units."""
    for size, unit, lower in ((86400, "d", 3600), (3600, "h", 60), (60, "m", 1)):
        if seconds >= size:
            small = {3600: "h", 60: "m", 1: "s"}[lower]
            return f"{int(seconds // size)}{unit}{int(seconds % size // lower)}{small}"
    return f"{seconds:.0f}s"


if __name__ == "__main__":
    sys.exit(main())
