"""Our daemon as it is installed: settings and images on disk, what is only of this boot in memory.

Owns: a mount namespace, in which the daemon's /run is a tmpfs; it goes with the context.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.clients.daemon import Daemon
from tests.clients.namespace import own_mounts, shown


@contextmanager
def own_daemon() -> Iterator[Daemon]:
    """Start a daemon, and leave nothing behind."""
    daemon = Daemon(arguments=[])  # not verbose, as stock
    run = daemon.root / "run"
    run.mkdir()
    with own_mounts():
        shown("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(run))
        with daemon:
            yield daemon
