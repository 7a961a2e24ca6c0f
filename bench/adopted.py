"""The private memory of a daemon that has taken over many idle guests.

    .venv/bin/python -m bench.adopted [--guests N] [--wait SECONDS]

The guests are started by one daemon, which is stopped; a second one adopts them, and renews their
workers one after the other. Paused QEMUs of 16 MiB take some 20 MiB each. There is nothing of
stock's beside it: it has one process for all guests.
Owns: the daemons and guests that it starts. It needs root, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bench.client_benchmarks import DOMAIN
from bench.ours import own_daemon
from bench.process_times import descendants, is_daemon, private_kib
from tests.clients.daemon import Daemon
from tests.clients.libvirt_binding import libvirt

LIMIT_S: Final = 120.0  # for all guests to be listed
AT_ONCE: Final = 8  # starts
STEP_S: Final = 15.0
RENEWED_MIB: Final = 5.5  # one that has not been renewed has more


def start_guests(uri: str, count: int) -> None:
    """Start transient guests without a disk, paused: their firmware would never rest."""

    def start(number: int) -> None:
        link = libvirt.open(uri)
        xml = DOMAIN.format(name=f"bench-{number:03d}", disk="")
        link.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
        link.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(start, range(count)))


def wait_adopted(uri: str, count: int) -> float:
    """Wait until all guests are listed as active; return the seconds since the call."""
    began = time.perf_counter()
    while time.perf_counter() - began < LIMIT_S:
        link = libvirt.open(uri)
        active = link.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        link.close()
        if len(active) == count:
            return time.perf_counter() - began
        time.sleep(0.1)
    raise TimeoutError(f"{len(active)} of {count} guests are listed")


def show_memory(daemon: Daemon) -> list[float]:
    """Print the private memory of the tree, in MiB; return the workers'."""
    assert daemon.process is not None
    workers: list[float] = []
    services: dict[str, float] = {}
    for pid in filter(is_daemon, descendants(daemon.process.pid)):
        with open(f"/proc/{pid}/comm") as file:
            name = file.read().strip()
        size = private_kib([pid]) / 1024
        if name.startswith("vv:qemu:"):
            workers.append(size)
        else:
            services[name] = size
    total = sum(workers) + sum(services.values())
    sys.stdout.write(
        f"{len(workers)} workers: {sum(workers):.0f} MiB, median {statistics.median(workers):.2f},"
        f" most {max(workers):.2f}; with the services {total:.0f} MiB\n"
        f"  {', '.join(f'{name} {size:.1f}' for name, size in services.items())}\n"
    )
    sys.stdout.flush()
    return workers


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--guests", type=int, default=60)
    parser.add_argument("--wait", type=float, default=240.0, help="at most, for renewal")
    options = parser.parse_args()
    with own_daemon() as daemon:
        start_guests(daemon.uri, options.guests)
        daemon.stop()
        daemon.start()
        seconds = wait_adopted(daemon.uri, options.guests)
        sys.stdout.write(f"{options.guests} guests adopted {seconds:.1f} s after readiness\n")
        until = time.monotonic() + options.wait
        while time.monotonic() < until:  # workers are renewed one after the other
            time.sleep(STEP_S)
            workers = show_memory(daemon)
            if len(workers) == options.guests and max(workers) <= RENEWED_MIB:
                break
    return 0


if __name__ == "__main__":
    sys.exit(main())
