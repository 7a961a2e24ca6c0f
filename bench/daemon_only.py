"""What only our daemon can show: start-up, recovery and the memory of its processes.

Owns: the daemons it starts for itself, each under a root of its own.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Final

from bench.client_benchmarks import DOMAIN, Row
from tests.clients.daemon import VIRSH, Daemon
from tests.clients.libvirt_binding import libvirt

RENEWED_S: Final = 6.0  # from a start until ten workers are renewed


def cold_version() -> Row:
    """From exec of the daemon, with no cache on disk, to the answer of `virsh version`."""
    daemon = Daemon()
    began = time.perf_counter()
    try:
        daemon.start()
        subprocess.run(
            [VIRSH, "-c", daemon.uri, "version"], check=True, capture_output=True, timeout=60
        )
        spent = time.perf_counter() - began
    finally:
        daemon.clean_up()
    return Row("start and first version, cold", "ms", spent * 1e3, target="<= 1500")


def tree_memory(daemon: Daemon) -> Row:
    """Private memory of all our processes with no guest running."""
    total = sum(process["private_kib"] for process in daemon.status())
    return Row("private memory of the tree", "MiB", total / 1024, target="<= 120")


def worker_memory(daemon: Daemon) -> Row:
    """Private memory of the largest of our idle workers, when all have been renewed."""
    time.sleep(RENEWED_S)
    sizes = [
        process["private_kib"] for process in daemon.status() if process["name"].startswith("qemu:")
    ]
    return Row("private memory of an idle worker", "MiB", max(sizes) / 1024, target="<= 5.5")


def whole_again(daemon: Daemon, guests: int) -> Row:
    """From the new root's exec after kill -9 to the list of all guests being complete."""
    daemon.kill()
    began = time.perf_counter()
    daemon.start()
    while True:
        link = libvirt.open(daemon.uri)
        running = link.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING)
        link.close()
        if len(running) == guests or time.perf_counter() - began > 30:
            break
    spent = time.perf_counter() - began
    return Row("whole again after kill -9 of the root", "ms", spent * 1e3, target="<= 1000")


def own_rows(guests: int = 10, definitions: int = 300) -> Iterator[Row]:
    """Measure, row by row."""
    yield cold_version()
    with Daemon() as daemon:
        yield tree_memory(daemon)
        link = libvirt.open(daemon.uri)
        for number in range(definitions):
            link.defineXML(DOMAIN.format(name=f"bench-{number:05d}", disk=""))
        for number in range(guests):
            link.createXML(DOMAIN.format(name=f"bench-run-{number:03d}", disk=""), 0)
        link.close()
        yield worker_memory(daemon)
        yield whole_again(daemon, guests)
