"""What is measured against any libvirt daemon, through Debian's own binding.

Owns: the domains it defines (all named bench-*). A measure takes a target and gives one number.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tests.clients.libvirt_binding import libvirt

DOMAIN: Final = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
<features><acpi/><apic/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{disk}
<serial type='pty'/><console type='pty'/><controller type='usb' model='none'/>
<memballoon model='virtio'/></devices></domain>"""
DISK: Final = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='{image}'/><target dev='vda' bus='virtio'/></disk>"""
HUNG_LIMIT_S: Final = 45.0
CHANGES: Final = 60  # of one running guest
LIVE: Final = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG: Final = libvirt.VIR_DOMAIN_AFFECT_CONFIG


class Doors(Protocol):
    """How daemons are reached from afar (`bench.remote`)."""

    def uri(self, door: str, target: Target) -> str: ...


@dataclass(frozen=True)
class Target:
    """A daemon under measurement."""

    name: str
    uri: str
    images: Path  # a folder in which its QEMU may write
    seen_as: Path | None = None  # where the daemon itself sees that folder, if it is in a chroot
    network: Path | None = None  # the file of its network namespace, if that is not ours
    doors: Doors | None = None  # how it is reached from afar


@dataclass(frozen=True)
class Options:
    """How many domains the measures use."""

    defined: int
    running: int


@dataclass
class Row:
    """One line of the result."""

    name: str
    unit: str
    ours: float
    stock: float | None = None
    target: str = ""

    @staticmethod
    def header() -> str:
        """The column names."""
        return f"{'what':44s} {'ours':>10s} {'stock':>10s} {'ratio':>7s}  target"

    def line(self) -> str:
        """The row as text."""
        stock = "-" if self.stock is None else f"{self.stock:.1f}"
        ratio = f"{self.ours / self.stock:.2f}" if self.stock else "-"
        name = f"{self.name} ({self.unit})"
        return f"{name:44s} {self.ours:10.1f} {stock:>10s} {ratio:>7s}  {self.target}"


@dataclass(frozen=True)
class Measure:
    """A row's name, unit, target and how its number is got."""

    name: str
    unit: str
    target: str
    run: Callable[[Target, Options], float]


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Seconds of each of `timestamps` runs."""
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        samples.append(time.perf_counter() - began)
    return samples


def median_us(samples: list[float]) -> float:
    return statistics.median(samples) * 1e6


def median_ms(samples: list[float]) -> float:
    return statistics.median(samples) * 1e3


@contextmanager
def connection(target: Target) -> Iterator[Any]:
    link = libvirt.open(target.uri)
    try:
        yield link
    finally:
        link.close()


@contextmanager
def defined(target: Target, count: int) -> Iterator[tuple[Any, list[Any]]]:
    """`count` inactive domains and the connection they were defined on."""
    with connection(target) as link:
        domains: list[Any] = []
        try:
            for number in range(count):
                xml = DOMAIN.format(name=f"bench-{number:05d}", disk="")
                domains.append(link.defineXML(xml))
            yield link, domains
        finally:
            for domain in domains:
                with suppress(libvirt.libvirtError):
                    domain.undefine()


@contextmanager
def running(target: Target, count: int, *, disks: bool = True) -> Iterator[tuple[Any, list[Any]]]:
    """`count` running guests with a qcow2 disk each; ended and undefined afterwards."""
    with connection(target) as link:
        domains: list[Any] = []
        images: list[Path] = []
        try:
            for number in range(count):
                disk = ""
                if disks:
                    images.append(make_image(target, number))
                    disk = DISK.format(image=images[-1])
                xml = DOMAIN.format(name=f"bench-run-{number:03d}", disk=disk)
                domains.append(link.defineXML(xml))
                domains[-1].create()
            yield link, domains
        finally:
            for domain in domains:
                with suppress(libvirt.libvirtError):
                    domain.destroy()
                with suppress(libvirt.libvirtError):
                    domain.undefine()
            for image in images:
                (target.images / image.name).unlink(missing_ok=True)


def make_image(target: Target, number: int) -> Path:
    target.images.mkdir(parents=True, exist_ok=True)
    image = target.images / f"bench-{number}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "64M"], check=True)
    image.chmod(0o666)
    return image if target.seen_as is None else target.seen_as / image.name


def simple_call(target: Target, _: Options) -> float:
    with connection(target) as link:
        return median_us(timed(link.getLibVersion, 3000))


def hostname_call(target: Target, _: Options) -> float:
    with connection(target) as link:
        return median_us(timed(link.getHostname, 2000))


def query(ask: Callable[[Any, list[Any]], object]) -> Callable[[Target, Options], float]:
    def run(target: Target, options: Options) -> float:
        with defined(target, min(options.defined, 200)) as (link, domains):
            return median_us(timed(lambda: ask(link, domains), 500))

    return run


def calls_per_second(links: list[Any], calls: int) -> float:
    """Measure how many calls all connections together get answered in a second; close them.

    Args:
        links: each makes its calls in a thread of its own.
        calls: of each.
    """
    gate = threading.Barrier(len(links) + 1)

    def work(link: Any) -> None:
        gate.wait()
        for _ in range(calls):
            link.getLibVersion()

    threads = [threading.Thread(target=work, args=(link,)) for link in links]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - began
    for link in links:
        link.close()
    return len(links) * calls / spent


def throughput(clients: int, calls: int = 500) -> Callable[[Target, Options], float]:
    def run(target: Target, _: Options) -> float:
        links = [libvirt.open(target.uri) for _ in range(clients)]
        return calls_per_second(links, calls)

    return run


def open_close(target: Target, _: Options) -> float:
    return median_us(timed(lambda: libvirt.open(target.uri).close(), 100))


def define(target: Target, options: Options) -> float:
    with connection(target) as link:
        spent, domains = [], []
        for number in range(options.defined):
            xml = DOMAIN.format(name=f"bench-{number:05d}", disk="")
            began = time.perf_counter()
            domains.append(link.defineXML(xml))
            spent.append(time.perf_counter() - began)
        for domain in domains:
            domain.undefine()
        return median_us(spent)


def undefine(target: Target, options: Options) -> float:
    with defined(target, options.defined) as (_, domains):
        return median_us([timed(domain.undefine, 1)[0] for domain in domains])


def list_all(target: Target, options: Options) -> float:
    with defined(target, options.defined) as (link, _):
        return median_us(timed(link.listAllDomains, 30))


def starts_and_destroys(target: Target, options: Options) -> tuple[list[float], list[float]]:
    with running(target, options.running) as (_, domains):
        destroys = [timed(domain.destroy, 1)[0] for domain in domains]
        starts = [timed(domain.create, 1)[0] for domain in domains]
        destroys += [timed(domain.destroy, 1)[0] for domain in domains]
        return starts, destroys


def start(target: Target, options: Options) -> float:
    return median_ms(starts_and_destroys(target, options)[0])


def destroy(target: Target, options: Options) -> float:
    return median_ms(starts_and_destroys(target, options)[1])


def parallel_start(target: Target, options: Options) -> float:
    with running(target, options.running) as (_, domains):
        for domain in domains:
            domain.destroy()
        threads = [threading.Thread(target=domain.create) for domain in domains]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - began) * 1e3


def all_stats(target: Target, options: Options) -> float:
    with running(target, options.running) as (link, _):
        return median_ms(timed(link.getAllDomainStats, 30))


def running_query(ask: Callable[[Any], object]) -> Callable[[Target, Options], float]:
    def run(target: Target, _: Options) -> float:
        with running(target, 1) as (_, domains):
            return median_us(timed(lambda: ask(domains[0]), 300))

    return run


def suspend_resume(target: Target, _: Options) -> float:
    with running(target, 1) as (_, domains):
        domain = domains[0]
        return median_us(timed(lambda: (domain.suspend(), domain.resume()), 50))


@contextmanager
def wide_guest(link: Any, name: str) -> Iterator[Any]:
    """A running guest with one vcpu of four."""
    xml = DOMAIN.format(name=name, disk="")
    domain = link.defineXML(xml.replace("<vcpu>1<", "<vcpu current='1'>4<"))
    domain.create()
    try:
        yield domain
    finally:
        domain.destroy()
        domain.undefine()


def changes(change: Callable[[Any, int], object]) -> Callable[[Target, Options], float]:
    """One change of a running guest, again and again; it is told which turn it is."""

    def run(target: Target, _: Options) -> float:
        with connection(target) as link, wide_guest(link, "bench-run-000") as domain:
            turns = iter(range(CHANGES))
            return median_us(timed(lambda: change(domain, next(turns)), CHANGES))

    return run


def plugged_vcpus(target: Target, options: Options) -> float:
    """The second, third and fourth vcpu of each guest."""
    spent = []
    with connection(target) as link:
        for number in range(min(options.running, 5)):
            with wide_guest(link, f"bench-run-{number:03d}") as domain:
                for count in (2, 3, 4):
                    began = time.perf_counter()
                    domain.setVcpusFlags(count, LIVE)
                    spent.append(time.perf_counter() - began)
    return median_us(spent)


def pid_of(name: str) -> int:
    """The QEMU process of a domain, found by its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                argv = (entry / "cmdline").read_bytes().split(b"\0")
                if b"qemu-system" in argv[0] and f"guest={name},".encode() in b" ".join(argv):
                    return int(entry.name)
    raise LookupError(f"no QEMU process of domain {name}")


def hung(ask: Callable[[Any, Any], object]) -> Callable[[Target, Options], float]:
    """Seconds (in ms) an answer takes while the first of three guests is stopped by a signal."""

    def run(target: Target, _: Options) -> float:
        with running(target, 3, disks=False) as (_, domains):
            victim = pid_of(domains[0].name())
            os.kill(victim, signal.SIGSTOP)
            try:
                return answer_ms(target, ask)
            finally:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGCONT)

    return run


def answer_ms(target: Target, ask: Callable[[Any, Any], object]) -> float:
    spent = [HUNG_LIMIT_S]

    def work() -> None:
        began = time.perf_counter()
        link = libvirt.open(target.uri)
        with suppress(libvirt.libvirtError):
            ask(link, link.lookupByName("bench-run-000"))
        spent[0] = time.perf_counter() - began

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(HUNG_LIMIT_S)
    return spent[0] * 1e3


MEASURES: Final = (
    Measure("simple call", "us", "<= 0.9 x", simple_call),
    Measure("hostname call", "us", "", hostname_call),
    Measure("lookup by name", "us", "<= 1 x", query(lambda c, d: c.lookupByName(d[-1].name()))),
    Measure("domain info", "us", "<= 1 x", query(lambda _, d: d[0].info())),
    Measure("domain XML", "us", "<= 1 x", query(lambda _, d: d[0].XMLDesc(0))),
    Measure("calls/s, 1 client", "1/s", "", throughput(1)),
    Measure("calls/s, 8 clients", "1/s", ">= 1.6 x", throughput(8)),
    Measure("open + close", "us", "<= 1 x", open_close),
    Measure("define", "us", "<= 1 x", define),
    Measure("undefine", "us", "<= 1 x", undefine),
    Measure("list all domains", "us", "<= 1 x", list_all),
    Measure("start a guest", "ms", "<= 0.35 x", start),
    Measure("starts at once", "ms", "<= 0.5 x", parallel_start),
    Measure("destroy", "ms", "<= 0.05 x", destroy),
    Measure("suspend + resume", "us", "", suspend_resume),
    Measure("setvcpus, live", "us", "<= 0.7 x", plugged_vcpus),
    Measure(
        "setvcpus, definition",
        "us",
        "<= 0.7 x",
        changes(lambda d, turn: d.setVcpusFlags(2 + turn % 2, CONFIG)),
    ),
    Measure(
        "setmem, live",
        "us",
        "<= 0.7 x",
        changes(lambda d, turn: d.setMemoryFlags((14 + turn % 2) << 10, LIVE)),
    ),
    Measure(
        "setmem, definition",
        "us",
        "<= 0.7 x",
        changes(lambda d, turn: d.setMemoryFlags((14 + turn % 2) << 10, CONFIG)),
    ),
    Measure(
        "vcpupin, live",
        "us",
        "<= 0.7 x",
        changes(lambda d, turn: d.pinVcpuFlags(0, (True, turn % 2 == 0), LIVE)),
    ),
    Measure(
        "schedinfo, live",
        "us",
        "<= 0.7 x",
        changes(lambda d, turn: d.setSchedulerParametersFlags({"cpu_shares": 500 + turn}, LIVE)),
    ),
    Measure(
        "schedinfo, definition",
        "us",
        "<= 0.7 x",
        changes(lambda d, turn: d.setSchedulerParametersFlags({"cpu_shares": 500 + turn}, CONFIG)),
    ),
    Measure("info of a running guest", "us", "<= 1 x", running_query(lambda d: d.info())),
    Measure("XML of a running guest", "us", "<= 1 x", running_query(lambda d: d.XMLDesc(0))),
    Measure("all-domain stats", "ms", "<= 0.3 x", all_stats),
    Measure("stats, 1 of 3 hung", "ms", "<= 1000", hung(lambda c, _: c.getAllDomainStats())),
    Measure("memory stats of a hung guest", "ms", "<= 5000", hung(lambda _, d: d.memoryStats())),
    Measure("destroy a hung guest", "ms", "<= 200", hung(lambda _, d: d.destroy())),
)
