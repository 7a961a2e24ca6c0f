"""Containers: start and end of one, many at once, the memory of their workers.

    .venv/bin/python bench/lxc.py [--many N]

Each row is the median of its samples, through Debian's own libvirt binding. Containers are of
busybox alone, unprivileged, in a network namespace of the benchmark's. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from tests.clients.container_daemon import Boxes, boxes
from tests.clients.containers import container

SAMPLES: Final = 15
CLIENTS: Final = 4  # threads that start the many


def main() -> None:
    """Measure, and print the rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--many", type=int, default=100)
    many = parser.parse_args().many
    with boxes() as box:
        starts, ends = one(box)
        show("start of a container (target 120)", statistics.median(starts), "ms")
        show("end of a container (target 60)", statistics.median(ends), "ms")
        crowd(box, many)


def one(box: Boxes) -> tuple[list[float], list[float]]:
    """Times of starts and ends of one container, in ms."""
    domain = box.link.defineXML(container("bench", box.rootfs))
    domain.create()
    domain.destroy()
    starts, ends = [], []
    for _ in range(SAMPLES):
        starts.append(spent(domain.create))
        ends.append(spent(domain.destroy))
    return starts, ends


def crowd(box: Boxes, many: int) -> None:
    """Start many, look at their workers, end them."""
    domains = [box.link.defineXML(container(f"crowd{n}", box.rootfs)) for n in range(many)]
    with ThreadPoolExecutor(CLIENTS) as clients:
        show(f"start of {many} at once", spent(lambda: list(clients.map(create, domains))), "ms")
        sizes = [
            row["private_kib"] / 1024
            for row in box.daemon.status()
            if row["name"].startswith("lxc:")
        ]
        show("workers", len(sizes), "")
        show("private memory of an idle worker (target 5)", statistics.median(sizes), "MiB")
        show(f"end of {many} at once", spent(lambda: list(clients.map(destroy, domains))), "ms")


def create(domain: Any) -> None:
    """Start a container."""
    domain.create()


def destroy(domain: Any) -> None:
    """End a container."""
    domain.destroy()


def spent(action: Callable[[], object]) -> float:
    """The time of an action, in ms."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e3


def show(what: str, value: float, unit: str) -> None:
    """Print a row."""
    print(f"{what:45} {value:10.1f} {unit}", flush=True)


if __name__ == "__main__":
    main()
