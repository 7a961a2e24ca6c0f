"""The daemon's command line.

Owns: its words and their meaning. May not touch: the process.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VERSION = "libvirtd (virtvisor) 0.1.0, behaving like libvirt 9.0.0"


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    daemon: bool
    config: Path | None
    pid_file: Path | None
    timeout_s: int | None
    verbose: bool
    root: Path | None


def parse(argv: Sequence[str]) -> Options:
    """Read the command line.

    Raises:
        SystemExit: help or the version was asked for, or a word is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="libvirtd",
        description="The virtualization daemon: a root supervisor and the processes it watches.",
        epilog="As root it serves qemu:///system, for any other user qemu:///session. "
        "See docs/libvirtd.md.",
    )
    add = parser.add_argument
    add("-d", "--daemon", action="store_true", help="go to the background once ready")
    add("-l", "--listen", action="store_true", help="accept TCP and TLS clients (not built yet)")
    add("-f", "--config", type=Path, metavar="FILE", help="settings instead of libvirtd.conf")
    add("-p", "--pid-file", type=Path, metavar="FILE", help="where the process number goes")
    add("-t", "--timeout", type=seconds, metavar="SEC", help="end after so long without work")
    add("-v", "--verbose", action="store_true", help="log what is done, not only what goes wrong")
    add("-V", "--version", action="version", version=VERSION)
    add("--root", type=Path, metavar="DIR", help="move every path under DIR")
    namespace = parser.parse_args(argv)
    if namespace.listen:
        parser.error("--listen: TCP and TLS are not built yet; use ssh, or the Unix socket")
    return Options(
        daemon=namespace.daemon,
        config=namespace.config,
        pid_file=namespace.pid_file,
        timeout_s=namespace.timeout,
        verbose=namespace.verbose,
        root=namespace.root.absolute() if namespace.root else None,
    )


def seconds(text: str) -> int:
    """Read a number of seconds from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
