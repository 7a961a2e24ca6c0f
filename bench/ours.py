"""Our daemon as it is installed: settings and images on disk, what is only of this boot in memory.

Owns: a mount namespace, in which the daemon's /run is a tmpfs; it goes with the context.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.process_times import descendants, is_daemon
from bench.sides import Side
from tests.clients.daemon import Daemon
from tests.clients.namespace import own_mounts, shown


@contextmanager
def own_daemon(
    fill: Callable[[Path], None] = lambda _: None, arguments: Sequence[str] = ()
) -> Iterator[Daemon]:
    """Start a daemon, and leave nothing behind.

    Args:
        fill: puts files into its etc/libvirt before it starts.
        arguments: of libvirtd.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed daemon has its byte code
    daemon = Daemon(arguments=list(arguments))  # not verbose, as stock
    settings, run = daemon.root / "etc/libvirt", daemon.root / "run"
    settings.mkdir(parents=True)
    fill(settings)
    run.mkdir()
    with own_mounts():
        shown("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(run))
        with daemon:
            yield daemon


def own_side(daemon: Daemon) -> Side:
    """Describe our daemon to a comparison."""
    assert daemon.process is not None
    root = daemon.process.pid
    images = daemon.root / "images"
    images.mkdir(exist_ok=True)
    images.chmod(0o777)

    def pids() -> list[int]:
        return [pid for pid in descendants(root) if is_daemon(pid)]

    return Side("virtvisor", daemon.uri, pids, daemon.root, images, images)
