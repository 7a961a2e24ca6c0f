"""Statistics of a container: CPU time, memory, block I/O, interfaces.

Owns: reading them. May touch: files of its cgroups and /proc/net/dev, to read.
Source: libvirt 9.0, virConnectGetAllDomainStats; Linux, cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rpc.enums import DomainStatsTypes, TypedParameterType
from rpc.errors import VirError
from supervisor.messages.worker import StatsParam
from supervisor.runtime.procfs import interface_counters
from supervisor.workers.cgroups import containers, readings
from supervisor.workers.cgroups.hierarchies import layout
from supervisor.workers.lxc.container import Container

P = TypedParameterType
COUNTERS: Final = (
    *("rx.bytes", "rx.pkts", "rx.errs", "rx.drop"),
    *("tx.bytes", "tx.pkts", "tx.errs", "tx.drop"),
)
OPERATIONS: Final = {"Read": "rd", "Write": "wr"}
IO_STAT: Final = {"rbytes": "rd_bytes", "wbytes": "wr_bytes", "rios": "rd_req", "wios": "wr_req"}


def block_counters(group: str, number: str = "") -> dict[str, int]:
    """Read requests and bytes, read and written.

    Args:
        group: the container's.
        number: of one device, "MAJOR:MINOR"; "": of all together.
    """
    if "blkio" in layout().v1_controllers:
        sums = parse_blkio_v1(containers.read("blkio", group, "blkio.throttle.io_serviced"), number)
        moved = containers.read("blkio", group, "blkio.throttle.io_service_bytes")
        sizes = parse_blkio_v1(moved, number)
        return {
            **{f"{name}_req": sums[name] for name in ("rd", "wr")},
            **{f"{name}_bytes": sizes[name] for name in ("rd", "wr")},
        }
    return parse_io_stat(containers.read("blkio", group, "io.stat"), number)


def parse_blkio_v1(text: str, number: str) -> dict[str, int]:
    """Sum lines such as "8:0 Read 12"."""
    sums = {"rd": 0, "wr": 0}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] in OPERATIONS and number in ("", fields[0]):
            sums[OPERATIONS[fields[1]]] += int(fields[2])
    return sums


def parse_io_stat(text: str, number: str) -> dict[str, int]:
    """Sum lines such as "8:0 rbytes=1 wbytes=2 rios=3 wios=4"."""
    sums = dict.fromkeys(IO_STAT.values(), 0)
    for line in text.splitlines():
        device, *pairs = line.split()
        for pair in pairs if number in ("", device) else []:
            name, _, value = pair.partition("=")
            if name in IO_STAT and value.isdigit():
                sums[IO_STAT[name]] += int(value)
    return sums


async def get_stats(container: Container, groups: int) -> list[StatsParam]:
    """Read the statistics of these groups; a group that cannot be read is left out."""
    params: list[StatsParam] = []
    for group, read in (
        (DomainStatsTypes.CPU_TOTAL, _cpu),
        (DomainStatsTypes.BALLOON, _balloon),
        (DomainStatsTypes.VCPU, _vcpus),
        (DomainStatsTypes.INTERFACE, _interfaces),
        (DomainStatsTypes.BLOCK, _blocks),
    ):
        if groups & group:
            try:
                params += read(container)
            except VirError:  # the container is stopping
                continue
    return params


def _cpu(container: Container) -> Iterator[StatsParam]:
    times = readings.cpu_times(container.cgroup)
    yield StatsParam("cpu.time", P.ULLONG, times.total)
    yield StatsParam("cpu.user", P.ULLONG, times.user)
    yield StatsParam("cpu.system", P.ULLONG, times.system)


def _balloon(container: Container) -> Iterator[StatsParam]:
    domain = container.domain
    current = domain.current_memory.amount if domain.current_memory else domain.memory
    yield StatsParam("balloon.current", P.ULLONG, current)
    yield StatsParam("balloon.maximum", P.ULLONG, domain.memory)
    yield StatsParam("balloon.rss", P.ULLONG, readings.memory_kib(container.cgroup))


def _vcpus(container: Container) -> Iterator[StatsParam]:
    yield StatsParam("vcpu.current", P.UINT, container.domain.current_vcpus)
    yield StatsParam("vcpu.maximum", P.UINT, container.domain.maximum_vcpus)


def _interfaces(container: Container) -> Iterator[StatsParam]:
    interfaces = container.domain.devices.interfaces
    yield StatsParam("net.count", P.UINT, len(interfaces))
    for number, interface in enumerate(interfaces):
        yield StatsParam(f"net.{number}.name", P.STRING, interface.target_dev or "")
        counters = interface_counters(interface.target_dev or "")
        for name, value in zip(COUNTERS, counters or (), strict=False):
            yield StatsParam(f"net.{number}.{name}", P.ULLONG, value)


def _blocks(container: Container) -> Iterator[StatsParam]:
    disks = container.domain.devices.disks
    yield StatsParam("block.count", P.UINT, len(disks))
    for number, disk in enumerate(disks):
        yield StatsParam(f"block.{number}.name", P.STRING, disk.target.dev)
        if disk.source is not None and disk.source.dev:
            yield StatsParam(f"block.{number}.path", P.STRING, disk.source.dev)
