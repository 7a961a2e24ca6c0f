"""What thousands of objects and a hundred guests take.

Owns: the daemons it starts for itself.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
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
        yield from under_load(
            side, work, lambda link: link.storagePoolLookupByName("bench-one").info()
        )


def leases(side: Side) -> Iterator[Row]:
    """List the leases of a network while another connection makes small calls."""
    link = side.connect()
    network = link.networkDefineXML(NETWORK)
    network.create()
    try:
        write_leases(side)
        assert len(network.DHCPLeases()) == LEASES
        work = [("list", network.DHCPLeases)] * 5
        yield from under_load(side, work, lambda other: other.networkLookupByName("bench-leases"))
    finally:
        network.destroy()
        network.undefine()
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
    """Start the guests at once, a thread and a connection each."""
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
    link = side.connect()
    for domain in link.listAllDomains():
        with suppress(libvirt.libvirtError):
            domain.destroy()
    link.close()


def in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def under_load(
    side: Side, work: list[tuple[str, Callable[[], object]]], ask: Callable[[Any], object]
) -> Iterator[Row]:
    """Do the work, and meanwhile make small calls: the slowest shows how long they were held up."""
    link = side.connect()
    idle = [spent_ms(lambda: ask(link)) for _ in range(300)]
    waits: dict[str, list[float]] = {label: [0.0] for label, _ in work}
    current, done = "", threading.Event()

    def probe() -> None:
        while not done.is_set():
            label = current
            waited = spent_ms(lambda: ask(link))
            if label:
                waits[label].append(waited)

    thread = threading.Thread(target=probe)
    thread.start()
    spent: dict[str, list[float]] = {}
    for label, action in work:
        current = label
        spent.setdefault(label, []).append(spent_ms(action))
    done.set()
    thread.join()
    link.close()
    yield "slowest small call, idle (ms)", max(idle), ""
    for label, values in spent.items():
        yield f"{label} (ms)", statistics.median(values), ""
        yield f"slowest small call, {label} (ms)", max(waits[label]), "<= 20"


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
    began = time.perf_counter()
    with own_daemon(crowd.prepare) as daemon:
        results = [rows(crowd, own_side(daemon), began)]
    if chroot is not None:
        began = time.perf_counter()
        with Stock(chroot, crowd.prepare) as stock:
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
    return [("ready, files written (ms)", ready, ""), *crowd.measure(side)]
