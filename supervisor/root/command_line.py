"""The command line of libvirtd.

Owns: the options. May not touch: the process.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VERSION = "libvirtd (virtvisor) 0.1.0, behaving like libvirt 9.0.0"


@dataclass(frozen=True, slots=True)
class Options:
    """The parsed options."""

    daemon: bool
    config: Path | None
    pid_file: Path | None
    timeout_s: int | None
    verbose: bool
    root: Path | None
    listen: bool = False


def parse(argv: Sequence[str]) -> Options:
    """Parse the command line.

    Raises:
        SystemExit: for --help and --version, and an invalid option.
    """
    parser = argparse.ArgumentParser(
        prog="libvirtd",
        description="The virtualization daemon: a root supervisor and the processes it watches.",
        epilog="As root it serves qemu:///system, for any other user qemu:///session. "
        "See docs/libvirtd.md.",
    )
    add = parser.add_argument
    add("-d", "--daemon", action="store_true", help="go to the background once ready")
    add(
        "-l",
        "--listen",
        action="store_true",
        help="accept TLS clients, and TCP clients if libvirtd.conf says listen_tcp = 1",
    )
    add(
        "-f",
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration file instead of libvirtd.conf",
    )
    add("-p", "--pid-file", type=Path, metavar="FILE", help="pid file")
    add(
        "-t",
        "--timeout",
        type=seconds,
        metavar="SEC",
        help="exit after so many seconds without clients and guests",
    )
    add("-v", "--verbose", action="store_true", help="log at level information")
    add("-V", "--version", action="version", version=VERSION)
    add("--root", type=Path, metavar="DIR", help="move every path under DIR")
    namespace = parser.parse_args(argv)
    return Options(
        daemon=namespace.daemon,
        config=namespace.config,
        pid_file=namespace.pid_file,
        timeout_s=namespace.timeout,
        verbose=namespace.verbose,
        root=namespace.root.absolute() if namespace.root else None,
        listen=namespace.listen,
    )


def seconds(text: str) -> int:
    """Parse a number of seconds, at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
