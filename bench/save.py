"""Save and restore of a guest with its memory in use: ours, and beside a stock one in the same run.

    python -m bench.save [--with-stock [DIR]] [--mib 512] [--rounds 3] [--bypass-cache]

The guest's memory is filled by its initrd, which is random: pages of one value cost nothing. Beside
each save a client asks for state, info, XML, statistics and job of the guest, as exporters do; the
longest wait is a row. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.ours import own_daemon, own_side
from bench.process_times import private_kib
from bench.sides import Side
from bench.stock import CHROOT, Stock
from tests.clients.guest import newest_kernel
from tests.clients.libvirt_binding import libvirt

MIB: Final = 1024 * 1024
NAME: Final = "bench-save"
FILLED: Final = 0.6  # of the memory, by the initrd: the kernel needs room to load it
XML: Final = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>{mib}</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type><kernel>{folder}/vmlinuz</kernel>
<initrd>{folder}/initrd</initrd><cmdline>panic=0 quiet mitigations=off</cmdline></os>
<features><acpi/></features><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<controller type='usb' model='none'/><memballoon model='virtio'/></devices></domain>"""


@dataclass
class Samples:
    """What one side's rounds gave."""

    save_s: list[float] = field(default_factory=list)
    restore_s: list[float] = field(default_factory=list)
    managed_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    image_mib: float = 0.0
    grown_mib: float = 0.0  # the daemon's private memory during a save, above that before
    queries: list[float] = field(default_factory=list)  # ms, beside the saves
    errors: list[str] = field(default_factory=list)


class Watcher:
    """A client that asks for a guest all the time, and the daemon's memory meanwhile."""

    def __init__(self, side: Side, samples: Samples) -> None:
        self._side = side
        self._samples = samples
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._ask, self._weigh)]

    def __enter__(self) -> Watcher:
        self._before = private_kib(self._side.pids())
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        link = self._side.connect()
        domain = link.lookupByName(NAME)
        asked: list[Callable[[], object]] = [
            domain.state,
            domain.info,
            lambda: domain.XMLDesc(0),
            lambda: link.getAllDomainStats(),
            domain.jobStats,
            lambda: link.listAllDomains(),
        ]
        while not self._ended.is_set():
            for ask in asked:
                began = time.perf_counter()
                try:
                    ask()
                except libvirt.libvirtError as error:
                    if "not running" not in str(error):  # it is saved by now
                        self._samples.errors.append(str(error))
                self._samples.queries.append((time.perf_counter() - began) * 1e3)
            self._ended.wait(0.01)
        link.close()

    def _weigh(self) -> None:
        while not self._ended.wait(0.1):
            grown = (private_kib(self._side.pids()) - self._before) / 1024
            self._samples.grown_mib = max(self._samples.grown_mib, grown)


@contextmanager
def guest(side: Side, mib: int, xml: str = XML) -> Iterator[Any]:
    """A guest whose memory is filled, defined and running."""
    folder = side.images / NAME
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    shutil.copyfile(newest_kernel(), folder / "vmlinuz")
    with (folder / "initrd").open("wb") as initrd:
        for _ in range(int(mib * FILLED)):
            initrd.write(os.urandom(MIB))
    link = side.connect()
    domain = link.defineXML(xml.format(name=NAME, mib=mib, folder=side.seen_as / NAME))
    try:
        domain.create()
        wait_filled(domain, mib)
        yield domain
    finally:
        if domain.isActive():
            domain.destroy()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        link.close()
        shutil.rmtree(folder)


def wait_filled(domain: Any, mib: int) -> None:
    """Wait until the guest has its initrd in memory, and idles in its panic."""
    until, last = time.monotonic() + 120.0, -1
    while time.monotonic() < until:
        resident = domain.memoryStats().get("rss", 0)
        if resident == last and resident > mib * FILLED * 1024:
            return
        last = resident
        time.sleep(2.0)
    raise TimeoutError(f"the guest's memory is not filled: {last} KiB")


def timed(work: Callable[[], object]) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(side: Side, domain: Any, samples: Samples, flags: int) -> None:
    """Save and restore the guest once, by a file and by its managed save."""
    link = domain.connect()
    seen, image = side.seen_as / "bench.image", side.images / "bench.image"
    with Watcher(side, samples):
        samples.save_s.append(timed(lambda: domain.saveFlags(str(seen), None, flags)))
    samples.image_mib = image.stat().st_size / MIB
    samples.restore_s.append(timed(lambda: link.restoreFlags(str(seen), None, flags)))
    image.unlink()
    samples.managed_s.append(timed(lambda: domain.managedSave(flags)))
    samples.start_s.append(timed(domain.create))


def rows(samples: Samples) -> list[tuple[str, float]]:
    """The figures of one side."""
    middle = statistics.median
    return [
        ("save (MiB/s)", samples.image_mib / middle(samples.save_s)),
        ("restore (MiB/s)", samples.image_mib / middle(samples.restore_s)),
        ("managed save + start (s)", middle(samples.managed_s) + middle(samples.start_s)),
        ("memory above idle, during a save (MiB)", samples.grown_mib),
        ("queries beside a save: median (ms)", middle(samples.queries)),
        ("queries beside a save: longest (ms)", max(samples.queries)),
        ("queries beside a save: errors", float(len(samples.errors))),
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with-stock", metavar="DIR", type=Path, nargs="?", const=CHROOT)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bypass-cache", action="store_true")
    options = parser.parse_args()
    flags = libvirt.VIR_DOMAIN_SAVE_BYPASS_CACHE if options.bypass_cache else 0
    tempfile.tempdir = "/var/tmp"  # on a disk, as stock's files are
    with ExitStack() as stack:
        sides = [own_side(stack.enter_context(own_daemon()))]
        if options.with_stock:
            sides.append(stack.enter_context(Stock(options.with_stock)).side)
        taken = [(side, Samples()) for side in sides]
        domains = [stack.enter_context(guest(side, options.mib)) for side in sides]
        for _ in range(options.rounds):
            for (side, samples), domain in zip(taken, domains, strict=True):
                measure(side, domain, samples, flags)
        for lines in zip(*(rows(samples) for _, samples in taken), strict=True):
            values = [value for _, value in lines]
            ratio = f"{values[0] / values[1]:.2f}" if len(values) > 1 and values[1] else "-"
            shown = " ".join(f"{value:10.1f}" for value in values)
            sys.stdout.write(f"{lines[0][0]:42s} {shown} {ratio:>7s}\n")
        for side, samples in taken:
            for error in sorted(set(samples.errors)):
                sys.stdout.write(f"{side.name}: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
