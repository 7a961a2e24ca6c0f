"""Storage: pools and volumes on our daemon, and beside a stock one in the same run.

    .venv/bin/python bench/storage.py [--stock SOCKET --stock-chroot DIR] [--mib N] [--files N …]

Each row is the median of its samples, through Debian's own libvirt binding; a ratio is ours /
stock. Times are better small, throughputs (MiB/s) better large. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.clients.daemon import Daemon
from tests.clients.libvirt_binding import libvirt

MIB: Final = 1024 * 1024
PACKET: Final = 256 * 1024
POOL: Final = "bench-storage"
SAMPLES: Final = 7


@dataclass(frozen=True)
class Target:
    """A daemon under measurement, and its pool."""

    name: str
    link: Any
    directory: Path  # the pool's, as we see it
    pids: Callable[[], list[int]]  # its processes, whose memory is looked at

    @property
    def pool(self) -> Any:
        """Its pool."""
        return self.link.storagePoolLookupByName(POOL)


def median_ms(action: Callable[[int], object], count: int = SAMPLES) -> float:
    """The median time of an action, in ms."""
    times = []
    for number in range(count):
        began = time.perf_counter()
        action(number)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def empty(target: Target) -> None:
    """Remove every file of the pool."""
    for file in target.directory.iterdir():
        file.unlink()
    target.pool.refresh(0)


def refresh(count: int) -> Callable[[Target], float]:
    """How long a refresh takes, of a directory with so many images of both formats."""

    def measure(target: Target) -> float:
        qcow2 = bytes.fromhex("514649fb00000003") + bytes(12)
        header = qcow2 + (16).to_bytes(4, "big") + (MIB).to_bytes(8, "big") + bytes(68)
        header += (4).to_bytes(4, "big") + (104).to_bytes(4, "big") + bytes(16)
        for number in range(count):
            (target.directory / f"v{number}").write_bytes(header if number % 2 else bytes(512))
        try:
            return median_ms(lambda _: target.pool.refresh(0), 3)
        finally:
            empty(target)

    return measure


def create(form: str) -> Callable[[Target], float]:
    """How long making a sparse volume takes."""

    def measure(target: Target) -> float:
        pool = target.pool

        def make(number: int) -> None:
            pool.createXML(
                f"<volume><name>c{number}</name><capacity unit='GiB'>1</capacity><allocation>0"
                f"</allocation><target><format type='{form}'/></target></volume>"
            )

        try:
            return median_ms(make)
        finally:
            empty(target)

    return measure


def filled(target: Target, mib: int) -> Any:
    """A volume with so many MiB of data in it."""
    block = os.urandom(MIB)
    with (target.directory / "data").open("wb") as file:
        for _ in range(mib):
            file.write(block)
    target.pool.refresh(0)
    return target.pool.storageVolLookupByName("data")


def download(mib: int) -> Callable[[Target], float]:
    """The throughput of a download."""

    def measure(target: Target) -> float:
        volume = filled(target, mib)

        def carry(_: int) -> None:
            stream = target.link.newStream()
            volume.download(stream, 0, 0, 0)
            while stream.recv(PACKET):
                pass
            stream.finish()

        try:
            carry(0)
            return mib / median_ms(carry, 3) * 1000
        finally:
            empty(target)

    return measure


def upload(mib: int) -> Callable[[Target], float]:
    """The throughput of an upload."""

    def measure(target: Target) -> float:
        volume, block = filled(target, mib), os.urandom(PACKET)

        def carry(_: int) -> None:
            stream = target.link.newStream()
            volume.upload(stream, 0, mib * MIB, 0)
            for _packet in range(mib * MIB // PACKET):
                left = block
                while left:
                    left = left[stream.send(left) :]
            stream.finish()

        try:
            carry(0)
            return mib / median_ms(carry, 3) * 1000
        finally:
            empty(target)

    return measure


def clone(mib: int) -> Callable[[Target], float]:
    """How long a copy of a raw volume takes."""

    def measure(target: Target) -> float:
        volume = filled(target, mib)

        def copy(number: int) -> None:
            document = f"<volume><name>copy{number}</name><capacity>0</capacity></volume>"
            target.pool.createXMLFrom(document, volume, 0).delete(0)

        try:
            return median_ms(copy, 3)
        finally:
            empty(target)

    return measure


def memory_kib(pids: list[int]) -> int:
    """The peak of the processes' private memory, added up."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    total += int(line.split()[1])
    return total


@contextmanager
def pool_of(
    name: str, uri: str, seen: str, directory: Path, pids: Callable[[], list[int]]
) -> Iterator[Target]:
    """A daemon's active pool for the time of the measures."""
    link = libvirt.open(uri)
    document = f"<pool type='dir'><name>{POOL}</name><target><path>{seen}</path></target></pool>"
    pool = link.storagePoolCreateXML(document, 0)
    try:
        yield Target(name, link, directory, pids)
    finally:
        pool.destroy()
        link.close()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stock", metavar="SOCKET")
    parser.add_argument("--stock-chroot", metavar="DIR", default="/")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--files", type=int, nargs="*", default=[1000, 10000])
    options = parser.parse_args()
    rows: list[tuple[str, str, Callable[[Target], float]]] = [
        *((f"refresh of {count} volumes", "ms", refresh(count)) for count in options.files),
        ("vol-create raw, sparse", "ms", create("raw")),
        ("vol-create qcow2", "ms", create("qcow2")),
        (f"vol-download {options.mib} MiB", "MiB/s", download(options.mib)),
        (f"vol-upload {options.mib} MiB", "MiB/s", upload(options.mib)),
        (f"vol-clone {options.mib} MiB", "ms", clone(options.mib)),
    ]
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(Daemon())
        directory = daemon.root / "bench"
        directory.mkdir()
        numbers = [int(row["pid"]) for row in daemon.status() if row["name"] in ("rpcd", "stord")]
        own = pool_of("virtvisor", daemon.uri, str(directory), directory, lambda: numbers)
        targets = [stack.enter_context(own)]
        if options.stock:
            place = Path(tempfile.mkdtemp(prefix="bench-", dir=f"{options.stock_chroot}/tmp"))
            stack.callback(shutil.rmtree, place, ignore_errors=True)
            uri = f"qemu+unix:///system?socket={options.stock}"
            stock = pool_of("stock", uri, f"/tmp/{place.name}", place, list)
            targets.append(stack.enter_context(stock))
        before = memory_kib(numbers)
        for name, unit, measure in rows:
            values = [measure(target) for target in targets]
            ratio = f"  {values[0] / values[1]:6.2f}" if len(values) > 1 else ""
            columns = "  ".join(f"{value:10.1f}" for value in values)
            sys.stdout.write(f"{name:32} {unit:6} {columns}{ratio}\n")
            sys.stdout.flush()
        grown = memory_kib(numbers) - before
        sys.stdout.write(f"{'peak memory of rpcd and stord':32} {'KiB':6} {grown:+10d}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
