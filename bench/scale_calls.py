"""The single calls that `bench/scale.py` compares.

Owns: the objects that it defines on each daemon (all named bench-*).
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bench.client_benchmarks import DOMAIN, Target, running, wide_guest
from bench.sides import Action, Comparison, Side
from tests.clients.libvirt_binding import libvirt

LIVE: Final = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG: Final = libvirt.VIR_DOMAIN_AFFECT_CONFIG
GUESTS: Final = 10
FIRST: Final = 400  # definitions, each of which is asked once
DISK: Final = (
    "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
    "<source file='{path}'/><target dev='vdb' bus='virtio'/></disk>"
)
NETWORK: Final = """<network><name>bench-ipv6</name><forward mode='nat'/>
<bridge name='vvbench6' delay='0'/>
<ip address='10.89.1.1' netmask='255.255.255.0'>
<dhcp><range start='10.89.1.2' end='10.89.1.254'/></dhcp></ip>
<ip family='ipv6' address='fd00:89:1::1' prefix='64'/></network>"""
POOL: Final = (
    "<pool type='dir'><name>bench-{name}</name><target><path>{path}</path></target></pool>"
)
VOLUME: Final = (
    "<volume><name>c{number}</name><capacity unit='GiB'>1</capacity><allocation>0</allocation>"
    "<target><format type='raw'/></target></volume>"
)
CLONE: Final = (
    "<volume><name>c{number}</name><capacity>65536</capacity>"
    "<target><format type='raw'/></target></volume>"
)
QCOW2: Final = (
    bytes.fromhex("514649fb00000003")
    + bytes(12)
    + (16).to_bytes(4, "big")
    + (1024 * 1024).to_bytes(8, "big")
    + bytes(68)
    + (4).to_bytes(4, "big")
    + (104).to_bytes(4, "big")
    + bytes(16)
)

Prepare = Callable[[Side], AbstractContextManager[Action]]


@contextmanager
def first_xml(side: Side) -> Iterator[Action]:
    """Ask for the XML of a definition that nobody has asked for since it was defined."""
    link = side.connect()
    domains = [link.defineXML(DOMAIN.format(name=f"bench-{n:05d}", disk="")) for n in range(FIRST)]
    try:
        yield lambda number: domains[number].XMLDesc(0)
    finally:
        for domain in domains:
            domain.undefine()
        link.close()


@contextmanager
def guest(side: Side) -> Iterator[Any]:
    """Run a guest without an operating system."""
    link = side.connect()
    domain = link.createXML(DOMAIN.format(name="bench-guest", disk=""), 0)
    try:
        yield domain
    finally:
        domain.destroy()
        link.close()


def of_guest(ask: Callable[[Any], object]) -> Prepare:
    """Make a call on a running guest."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with guest(side) as domain:
            yield lambda _: ask(domain)

    return prepare


def change(make: Callable[[Any, int], object]) -> Prepare:
    """Change a running guest of four vcpus, one of them plugged, and its definition."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        link = side.connect()
        with wide_guest(link, "bench-wide") as domain:
            yield lambda number: make(domain, number)
        link.close()

    return prepare


@contextmanager
def all_stats(side: Side) -> Iterator[Action]:
    """Ask for all statistics of ten running guests with a disk each."""
    with running(Target(side.name, side.uri, side.images, side.seen_as), GUESTS) as (link, _):
        yield lambda _: link.getAllDomainStats()


@contextmanager
def start_network(side: Side) -> Iterator[Action]:
    """Start a network with an IPv6 address; it is stopped between, which is measured, too."""
    link = side.connect()
    network = link.networkDefineXML(NETWORK)

    def start(_: int) -> None:
        if network.isActive():
            network.destroy()
        network.create()

    try:
        yield start
    finally:
        with suppress(libvirt.libvirtError):
            network.destroy()
        network.undefine()
        link.close()


@contextmanager
def directory_pool(side: Side, name: str) -> Iterator[tuple[Any, Path]]:
    """Run a pool of an empty directory; also give the directory, as we see it."""
    place = Path(tempfile.mkdtemp(prefix="pool-", dir=side.images))
    place.chmod(0o777)
    link = side.connect()
    document = POOL.format(name=name, path=side.seen_as / place.name)
    pool = link.storagePoolCreateXML(document, 0)
    try:
        yield pool, place
    finally:
        pool.destroy()
        link.close()
        shutil.rmtree(place)


def refresh(count: int) -> Prepare:
    """Refresh a pool of so many images, of both formats."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with directory_pool(side, "refresh") as (pool, place):
            fill(place, count)
            yield lambda _: pool.refresh(0)

    return prepare


def fill(place: Path, count: int) -> None:
    """Make image files."""
    for number in range(count):
        (place / f"v{number}").write_bytes(QCOW2 if number % 2 else bytes(512))


@contextmanager
def create_volume(side: Side) -> Iterator[Action]:
    """Create sparse raw volumes."""
    with directory_pool(side, "create") as (pool, _):
        yield lambda number: pool.createXML(VOLUME.format(number=number))


@contextmanager
def clone_volume(side: Side) -> Iterator[Action]:
    """Clone a raw volume of 64 KiB."""
    with directory_pool(side, "clone") as (pool, place):
        (place / "source").write_bytes(bytes(range(256)) * 256)
        pool.refresh(0)
        source = pool.storageVolLookupByName("source")
        yield lambda number: pool.createXMLFrom(CLONE.format(number=number), source)


@contextmanager
def delete_volume(side: Side) -> Iterator[Action]:
    """Delete sparse raw volumes; the next one is created between, which is not measured."""
    with directory_pool(side, "delete") as (pool, _):
        volumes = [pool.createXML(VOLUME.format(number=0))]

        def delete(number: int) -> object:
            volumes.pop().delete()
            return lambda: volumes.append(pool.createXML(VOLUME.format(number=number + 1)))

        yield delete


@contextmanager
def detach(side: Side) -> Iterator[Action]:
    """Detach disks that the guest, which runs no operating system, does not release."""
    with guest(side) as domain:
        targets = (f"vd{letter}" for letter in "bcdefgh")
        images = itertools.count()
        disks = []
        for target in targets:
            name = f"bench-detach-{next(images)}"
            (side.images / name).write_bytes(bytes(4096))
            (side.images / name).chmod(0o666)
            disk = DISK.format(path=side.seen_as / name).replace("vdb", target)
            domain.attachDevice(disk)
            disks.append(disk)
        yield lambda number: domain.detachDevice(disks[number])


COMPARISONS: Final = (
    Comparison("XML of a definition, first asked", "<= 0.7 x", first_xml, samples=FIRST),
    Comparison("XML of a running guest", "<= 0.5 x", of_guest(lambda guest: guest.XMLDesc(0))),
    Comparison("info of a running guest", "<= 0.8 x", of_guest(lambda guest: guest.info())),
    Comparison(
        "suspend + resume", "<= 1 x", of_guest(lambda guest: (guest.suspend(), guest.resume()))
    ),
    Comparison(
        "schedinfo set, live",
        "<= 0.7 x",
        change(lambda d, n: d.setSchedulerParametersFlags({"cpu_shares": 500 + n % 99}, LIVE)),
    ),
    Comparison(
        "schedinfo set, definition",
        "<= 0.7 x",
        change(lambda d, n: d.setSchedulerParametersFlags({"cpu_shares": 500 + n % 99}, CONFIG)),
    ),
    Comparison(
        "setvcpus, definition",
        "<= 0.7 x",
        change(lambda d, n: d.setVcpusFlags(2 + n % 2, CONFIG)),
    ),
    Comparison(
        "setmem, live", "<= 0.7 x", change(lambda d, n: d.setMemoryFlags((14 + n % 2) << 10, LIVE))
    ),
    Comparison(
        "setmem, definition",
        "<= 0.7 x",
        change(lambda d, n: d.setMemoryFlags((14 + n % 2) << 10, CONFIG)),
    ),
    Comparison(
        "vcpupin, live",
        "<= 0.7 x",
        change(lambda d, n: d.pinVcpuFlags(0, (True, n % 2 == 0), LIVE)),
    ),
    Comparison("all statistics of 10 guests", "<= 0.15 x", all_stats, samples=40, block=4),
    Comparison("net-destroy + net-start, IPv6", "<= 1 x", start_network, samples=5, block=1),
    Comparison("refresh of 1000 volumes", "<= 1 x", refresh(1000), samples=20, block=2),
    Comparison("create a raw volume", "<= 1 x", create_volume, samples=300),
    Comparison("clone a raw volume of 64 KiB", "<= 1 x", clone_volume, samples=300),
    Comparison("delete a raw volume", "<= 1 x", delete_volume, samples=300),
    Comparison("detach that the guest ignores", "as stock", detach, samples=2, block=1),
)
