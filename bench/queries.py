"""How long queries of a guest wait beside each of its long jobs: ours, and stock's in the same run.

    python -m bench.queries [--with-stock [DIR]] [--mib 512] [--rounds 2]

A process of its own asks all the time for everything that exporters and lists ask for. A row is the
longest wait of a class of queries beside a job, in ms. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bench import save
from bench.ours import own_daemon, own_side
from bench.sides import Side
from bench.stock import CHROOT, Stock
from tests.clients.libvirt_binding import libvirt

MIB: Final = 1024 * 1024
DATA_MIB: Final = 256  # on the disk
JOB_S: Final = 300.0
PAUSE_S: Final = 0.002  # between two rounds of queries
DEVICES: Final = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='{disk}'/><target dev='vda' bus='virtio'/></disk><interface type='user'/>
<memballoon model='virtio'/>"""
SNAPSHOT: Final = """<domainsnapshot><name>{name}</name>
<memory snapshot='external' file='{folder}/{name}.mem'/>
<disks><disk name='vda' snapshot='external'><source file='{folder}/{name}.qcow2'/></disk></disks>
</domainsnapshot>"""
BACKUP: Final = """<domainbackup><disks><disk name='vda' type='file'>
<target file='{folder}/{name}.backup'/><driver type='qcow2'/></disk></disks></domainbackup>"""

Asked = tuple[str, float, float, str]  # class, begin, end, error


def ask(uri: str) -> None:
    """Ask until this process is ended; print a line for each query."""
    link = libvirt.open(uri)
    domain = link.lookupByName(save.NAME)
    interface = interface_of(domain)
    queries: dict[str, Callable[[], object]] = {
        "state": domain.state,
        "info": domain.info,
        "XML": domain.XMLDesc,
        "list": link.listAllDomains,
        "statistics": link.getAllDomainStats,
        "memory": domain.memoryStats,
        "block": lambda: domain.blockStats("vda"),
        "block info": lambda: domain.blockInfo("vda"),
        "interface": lambda: domain.interfaceStats(interface),
        "job info": domain.jobInfo,
        "job statistics": domain.jobStats,
    }
    if not interface:
        del queries["interface"]  # slirp's have no tap
    while True:
        for name, query in queries.items():
            error = ""
            began = time.perf_counter()
            try:
                query()
            except libvirt.libvirtError as refused:
                error = str(refused).replace("\n", " ")
            sys.stdout.write(f"{name}\t{began}\t{time.perf_counter()}\t{error}\n")
        sys.stdout.flush()
        time.sleep(PAUSE_S)


def interface_of(domain: Any) -> str:
    """Name the tap of the guest's first interface; "": it has none."""
    xml: str = domain.XMLDesc()
    _, _, after = xml.partition("<interface ")
    return after.partition("<target dev='")[2].partition("'")[0] if "<target dev='" in after else ""


@contextmanager
def guest(side: Side, mib: int) -> Iterator[Any]:
    """Run a guest whose memory and disk are filled."""
    folder = side.images / "bench-queries"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    disk = folder / "disk.qcow2"
    run = ("qemu-img", "create", "-q", "-f", "qcow2", str(disk), f"{4 * DATA_MIB}M")
    subprocess.run(run, check=True)
    write = ("qemu-io", "-c", f"write -P 7 0 {DATA_MIB}M", str(disk))
    subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
    disk.chmod(0o666)
    devices = DEVICES.format(disk=side.seen_as / "bench-queries/disk.qcow2")
    xml = save.XML.replace("<memballoon model='virtio'/>", devices)
    try:
        with save.guest(side, mib, xml) as domain:
            yield domain
    finally:
        for file in folder.iterdir():
            file.unlink()


def save_and_restore(side: Side, domain: Any, name: str) -> Iterator[None]:
    """Save the guest; restore it when that was measured."""
    seen, image = side.seen_as / f"{name}.image", side.images / f"{name}.image"
    domain.save(str(seen))
    yield
    domain.connect().restore(str(seen))
    image.unlink()


def dump(side: Side, domain: Any, name: str) -> Iterator[None]:
    """Dump the guest's memory."""
    seen, image = side.seen_as / f"{name}.dump", side.images / f"{name}.dump"
    flags = libvirt.VIR_DUMP_MEMORY_ONLY
    domain.coreDumpWithFormat(str(seen), libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, flags)
    yield
    image.unlink()


def snapshot(side: Side, domain: Any, name: str) -> Iterator[None]:
    """Take a snapshot of disk and memory, each in a file."""
    document = SNAPSHOT.format(name=name, folder=side.seen_as / "bench-queries")
    taken = domain.snapshotCreateXML(document, 0)
    yield
    taken.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)


def backup(side: Side, domain: Any, name: str) -> Iterator[None]:
    """Copy the disk."""
    document = BACKUP.format(name=name, folder=side.seen_as / "bench-queries")
    domain.backupBegin(document, None)
    until = time.monotonic() + JOB_S
    while domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE and time.monotonic() < until:
        time.sleep(0.05)
    yield


def block_copy(side: Side, domain: Any, name: str) -> Iterator[None]:
    """Copy the disk by a block job, which is ended when both are the same."""
    folder = side.seen_as / "bench-queries"
    copy = f"<disk type='file'><source file='{folder}/{name}.copy'/><driver type='qcow2'/></disk>"
    domain.blockCopy("vda", copy, {}, libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)
    until = time.monotonic() + JOB_S
    while time.monotonic() < until:
        progress = domain.blockJobInfo("vda")
        if progress["cur"] == progress["end"] > 0:
            break
        time.sleep(0.05)
    domain.blockJobAbort("vda")
    yield


JOBS: Final = {
    "save": save_and_restore,
    "dump": dump,
    "snapshot": snapshot,
    "backup": backup,
    "block copy": block_copy,
}


def measure(side: Side, domain: Any, rounds: int) -> dict[tuple[str, str], list[float]]:
    """Do the jobs; return the waits in ms by job and class, and print what was refused."""
    waits: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds):
        for job, work in JOBS.items():
            with asking(side) as answers:
                time.sleep(1.0)
                began = time.perf_counter()
                doing = work(side, domain, f"{job}{number}")
                next(doing)
                ended = time.perf_counter()
            next(doing, None)
            waits[job, "(the job)"].append((ended - began) * 1e3)
            for name, start, end, error in answers:
                if error and "not running" not in error:  # it is saved by now
                    sys.stdout.write(f"    {side.name}, {job}, {name}: {error}\n")
                if start < ended and end > began:
                    waits[job, name].append((end - start) * 1e3)
    return waits


@contextmanager
def asking(side: Side) -> Iterator[list[Asked]]:
    """Have another process ask meanwhile; the list is filled at the end."""
    answers: list[Asked] = []
    argv = [sys.executable, "-m", "bench.queries", "--ask", side.uri]
    with tempfile.TemporaryFile("w+") as file:  # a pipe would fill
        with subprocess.Popen(argv, stdout=file) as process:
            try:
                yield answers
            finally:
                process.terminate()
        file.seek(0)
        for line in file:
            with suppress(ValueError):  # the last one may be cut off
                name, began, ended, error = line.rstrip("\n").split("\t")
                answers.append((name, float(began), float(ended), error))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with-stock", metavar="DIR", type=Path, nargs="?", const=CHROOT)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ask", metavar="URI", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask(options.ask)
    tempfile.tempdir = "/var/tmp"  # on a disk, as stock's files are
    with ExitStack() as stack:
        sides = [own_side(stack.enter_context(own_daemon()))]
        if options.with_stock:
            sides.append(stack.enter_context(Stock(options.with_stock)).side)
        domains = [stack.enter_context(guest(side, options.mib)) for side in sides]
        pairs = zip(sides, domains, strict=True)
        taken = [measure(side, domain, options.rounds) for side, domain in pairs]
    for key in taken[0]:
        columns = (f"{max(waits[key], default=0.0):9.1f} {len(waits[key]):6d}" for waits in taken)
        sys.stdout.write(f"{key[0]:10s} {key[1]:15s} {'  '.join(columns)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
