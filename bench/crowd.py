"""What thousands of objects and a hundred guests take.

Owns: the daemons it starts for itself.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from bench.client_benchmarks import DOMAIN
from bench.ours import own_daemon, own_side
from bench.process_times import private_kib, run_ms
from bench.scale_calls import directory_pool, fill
from bench.sides import Side
from bench.stock import Stock
from tests.clients.libvirt_binding import libvirt

DEFINITIONS: Final = 10_000
VOLUMES: Final = 20_000  # in two pools: libvirt's protocol lists 16 384 of one
LEASES: Final = 5_000
GUESTS: Final = 100
NETWORK: Final = """<network><name>bench-leases</name><bridge name='vvbenchl' delay='0'/>
<ip address='10.90.0.1' netmask='255.255.0.0'>
<dhcp><range start='10.90.0.2' end='10.90.255.254'/></dhcp></ip></network>"""


Row = tuple[str, float, str]  # label, value, target


@dataclass(frozen=True)
class Crowd:
    """A row that has daemons of its own."""

    name: str
    measure: Callable[[Side], Iterator[Row]]
    prepare: Callable[[Path], None] = lambda _: None  # fills etc/libvirt before the daemon starts


def write_definitions(settings: Path) -> None:
    """Write the definition files, as either daemon would."""
    folder = settings / "qemu"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(DEFINITIONS):
        name = f"bench-{number:05d}"
        uuid = f"<uuid>{UUID(int=number + 1)}</uuid>"
        document = DOMAIN.format(name=name, disk="").replace("</name>", f"</name>{uuid}")
        (folder / f"{name}.xml").write_text(document)


def definitions(side: Side) -> Iterator[Row]:
    """Measure a daemon that has just started with the definitions."""
    began = time.perf_counter()
    link = side.connect()
    while len(link.listAllDomains()) < DEFINITIONS:
        time.sleep(0.02)
    yield "complete after it is ready (ms)", (time.perf_counter() - began) * 1e3, ""
    yield "list of all (ms)", median_ms(link.listAllDomains, 10), "<= 0.7 x"
    names = (f"bench-{number:05d}" for number in range(0, DEFINITIONS, 50))
    domains = [link.lookupByName(name) for name in names]
    yield "XML, first asked (ms)", statistics.median(spent_ms(d.XMLDesc) for d in domains), ""
    yield "private memory (MiB)", private_kib(side.pids()) / 1024, "<= 200"
    link.close()


def volumes(side: Side) -> Iterator[Row]:
    """List the volumes of two pools while another connection makes small calls."""
    with ExitStack() as stack:
        pools = []
        for name in ("one", "two"):
            pool, place = stack.enter_context(directory_pool(side, name))
            fill(place, VOLUMES // 2)
            pools.append(pool)
        work = [("refresh", pool.refresh) for pool in pools]
        work += [("list", pool.listAllVolumes) for pool in pools]
        yield from under_load(side, work, "pool", "bench-one")


def leases(side: Side) -> Iterator[Row]:
    """List the leases of a network while another connection makes small calls."""
    link = side.connect()
    network = link.networkDefineXML(NETWORK)
    network.create()
    quiet = link.networkDefineXML("<network><name>bench-quiet</name></network>")
    try:
        write_leases(side)
        assert len(network.DHCPLeases()) == LEASES
        work = [("list", network.DHCPLeases)] * 5
        yield from under_load(side, work, "network", "bench-quiet")
    finally:
        network.destroy()
        for each in (network, quiet):
            each.undefine()
        link.close()


def write_leases(side: Side) -> None:
    """Write the lease database, in the form of dnsmasq's helper."""
    records = [
        {
            "ip-address": f"10.90.{1 + number // 250}.{1 + number % 250}",
            "mac-address": f"52:54:00:00:{number // 256:02x}:{number % 256:02x}",
            "hostname": f"host{number}",
            "expiry-time": int(time.time()) + 3600,
        }
        for number in range(LEASES)
    ]
    path = side.root / "var/lib/libvirt/dnsmasq/vvbenchl.status"
    path.write_text(json.dumps(records))


def guests(side: Side) -> Iterator[Row]:
    """Start the guests at once, a thread and a connection each; they are left running."""
    failures: list[str] = []

    def start(number: int) -> None:
        try:
            link = side.connect()
            link.createXML(DOMAIN.format(name=f"bench-{number:03d}", disk=""), 0)
            link.close()
        except libvirt.libvirtError as error:
            failures.append(str(error))

    before = run_ms(side.pids())
    began = time.perf_counter()
    in_threads(start, GUESTS)
    yield "all started (ms)", (time.perf_counter() - began) * 1e3, ""
    yield "CPU of the daemon (ms)", run_ms(side.pids()) - before, ""
    yield "failures", len(failures), "0"
    for failure in failures[:3]:
        sys.stdout.write(f"    {failure}\n")
    yield "private memory of the daemon (MiB)", private_kib(side.pids()) / 1024, ""
    # They end with the daemon's context: to destroy a hundred on a busy machine takes minutes.


def in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def under_load(
    side: Side, work: list[tuple[str, Callable[[], object]]], kind: str, name: str
) -> Iterator[Row]:
    """Do the work while another process makes small calls: how long are they held up?"""
    argv = [sys.executable, "-m", "bench.probe", side.uri, kind, name]
    spans: dict[str, list[tuple[float, float]]] = {}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as probe:
        time.sleep(1)
        for label, action in work:
            began = time.perf_counter()
            action()
            spans.setdefault(label, []).append((began, time.perf_counter()))
        time.sleep(0.2)
        probe.terminate()
        lines = (line.split() for line in probe.communicate()[0].splitlines())
        calls = [(float(began), float(ended)) for began, ended in lines]
    first = min(began for each in spans.values() for began, _ in each)
    idle = [ended - began for began, ended in calls if ended < first]
    yield "small call, idle, slowest (ms)", max(idle) * 1e3, ""
    for label, times in spans.items():
        yield f"{label} (ms)", statistics.median(end - start for start, end in times) * 1e3, ""
        waits = [
            ended - began
            for began, ended in calls
            for start, end in times
            if began < end and ended > start
        ]
        yield f"small call during {label}, slowest (ms)", max(waits) * 1e3, "<= 20"


def spent_ms(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e3


def median_ms(action: Callable[[], object], times: int) -> float:
    return statistics.median(spent_ms(action) for _ in range(times))


CROWDS: Final = (
    Crowd(f"{DEFINITIONS} definitions", definitions, write_definitions),
    Crowd(f"{VOLUMES} volumes", volumes),
    Crowd(f"{LEASES} leases", leases),
    Crowd(f"{GUESTS} guests at once", guests),
)


def run_crowd(crowd: Crowd, chroot: Path | None) -> None:
    """Measure each daemon by itself, and print the rows side by side."""
    began = 0.0

    def prepare(settings: Path) -> None:
        nonlocal began
        crowd.prepare(settings)
        began = time.perf_counter()

    with own_daemon(prepare) as daemon:
        results = [rows(crowd, own_side(daemon), began)]
    if chroot is not None:
        with Stock(chroot, prepare) as stock:
            results.append(rows(crowd, stock.side, began))
    for row in zip(*results, strict=True):
        label, ours, target = row[0]
        stocks = row[1][1] if len(row) > 1 else None
        beside = "-" if stocks is None else f"{stocks:.1f}"
        ratio = f"{ours / stocks:.2f}" if stocks else "-"
        name = f"{crowd.name}: {label}"
        sys.stdout.write(f"{name:58s} {ours:9.1f} {beside:>9s} {ratio:>6s}  {target}\n")
        sys.stdout.flush()


def rows(crowd: Crowd, side: Side, began: float) -> list[Row]:
    """Measure; the time since the daemon was started comes first."""
    ready = (time.perf_counter() - began) * 1e3
    used = run_ms(side.pids())
    return [
        ("ready (ms)", ready, "<= 1500"),
        ("processor time until ready (ms)", used, ""),
        *crowd.measure(side),
    ]
