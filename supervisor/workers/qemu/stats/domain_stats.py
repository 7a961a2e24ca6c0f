"""The figures of a guest for all-domain statistics: one round trip to the emulator.

Owns: their names. May touch: the emulator, by QMP; /proc and /sys, to read.
Source: libvirt 9.0, virConnectGetAllDomainStats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

from rpc.enums import DomainMemoryStatTags, DomainStatsTypes, TypedParameterType
from supervisor.messages.worker import StatsParam
from supervisor.workers.interface_counters import interface_counters
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.monitor import Query
from supervisor.workers.qemu.qmp.replies import (
    Balloon,
    BlockDevice,
    BlockStats,
    CpuThread,
    GuestStats,
    IoThread,
)
from supervisor.workers.qemu.stats.sources import (
    KIB,
    balloon_figures,
    is_of,
    resident_kib,
    source_of,
    vcpus,
)

SAMPLE_S: Final = 0.75
P = TypedParameterType
T = TypeVar("T")
TAGS: Final = {
    DomainMemoryStatTags.SWAP_IN: "swap_in",
    DomainMemoryStatTags.SWAP_OUT: "swap_out",
    DomainMemoryStatTags.MAJOR_FAULT: "major_fault",
    DomainMemoryStatTags.MINOR_FAULT: "minor_fault",
    DomainMemoryStatTags.UNUSED: "unused",
    DomainMemoryStatTags.AVAILABLE: "available",
    DomainMemoryStatTags.USABLE: "usable",
    DomainMemoryStatTags.LAST_UPDATE: "last-update",
    DomainMemoryStatTags.DISK_CACHES: "disk_caches",
    DomainMemoryStatTags.HUGETLB_PGALLOC: "hugetlb_pgalloc",
    DomainMemoryStatTags.HUGETLB_PGFAIL: "hugetlb_pgfail",
}


#: What is asked for each group.
QUERIES: Final[dict[DomainStatsTypes, tuple[Query, ...]]] = {
    DomainStatsTypes.BALLOON: (Query("query-balloon", Balloon),),
    DomainStatsTypes.VCPU: (Query("query-cpus-fast", list[CpuThread]),),
    DomainStatsTypes.BLOCK: (
        Query("query-blockstats", list[BlockStats]),
        Query("query-block", list[BlockDevice]),
    ),
    DomainStatsTypes.IOTHREAD: (Query("query-iothreads", list[IoThread]),),
}


async def sample(guest: Guest, groups: int) -> list[StatsParam]:
    """The figures of these groups.

    Raises:
        VirError: OPERATION_TIMEOUT: the guest hangs.
    """
    wanted = list(_questions(guest, groups))
    answers: dict[str, object] = {}
    if wanted:
        results = await guest.monitor.ask_all(wanted, timeout_s=SAMPLE_S)
        answers = {name: answer for (name, *_), answer in zip(wanted, results, strict=True)}
    return list(_figures(guest, groups, answers))


def _questions(guest: Guest, groups: int) -> Iterator[Query]:
    domain, balloon = guest.domain, guest.domain.devices.memballoon
    has_balloon = balloon is not None and balloon.model != "none"
    there = {
        DomainStatsTypes.BALLOON: has_balloon,
        DomainStatsTypes.VCPU: not guest.vcpu_threads,
        DomainStatsTypes.BLOCK: bool(domain.devices.disks),
        DomainStatsTypes.IOTHREAD: bool(domain.iothread_list()),
    }
    for group, queries in QUERIES.items():
        if groups & group and there[group]:
            yield from queries
    if balloon is not None and has_balloon and groups & DomainStatsTypes.BALLOON:
        path = f"/machine/peripheral/{balloon.alias}"
        yield Query("qom-get", GuestStats, {"path": path, "property": "guest-stats"})


def _figures(guest: Guest, groups: int, answers: dict[str, object]) -> Iterator[StatsParam]:
    if groups & DomainStatsTypes.BALLOON:
        yield from _balloon(guest, answers)
    if groups & DomainStatsTypes.VCPU:
        yield from _vcpus(guest, answers)
    if groups & DomainStatsTypes.INTERFACE:
        yield from _interfaces(guest)
    if groups & DomainStatsTypes.BLOCK:
        yield from _blocks(guest, answers)
    if groups & DomainStatsTypes.IOTHREAD:
        yield from _iothreads(answers)


def _balloon(guest: Guest, answers: dict[str, object]) -> Iterator[StatsParam]:
    domain = guest.domain
    answer = answers.get("query-balloon")
    if isinstance(answer, Balloon):
        guest.balloon_kib = answer.actual // KIB
    current = guest.balloon_kib or domain.memory
    yield StatsParam("balloon.current", P.ULLONG, current)
    yield StatsParam("balloon.maximum", P.ULLONG, domain.memory)
    stats = answers.get("qom-get")
    if isinstance(stats, GuestStats):
        for tag, value in balloon_figures(stats):
            yield StatsParam(f"balloon.{TAGS[tag]}", P.ULLONG, value)
    yield StatsParam("balloon.rss", P.ULLONG, resident_kib(guest.process.pid))


def _vcpus(guest: Guest, answers: dict[str, object]) -> Iterator[StatsParam]:
    answer = answers.get("query-cpus-fast")
    if isinstance(answer, list):
        ordered = sorted(answer, key=lambda cpu: cpu.cpu_index)
        guest.vcpu_threads = [cpu.thread_id for cpu in ordered]
    yield StatsParam("vcpu.current", P.UINT, guest.domain.current_vcpus)
    yield StatsParam("vcpu.maximum", P.UINT, guest.domain.maximum_vcpus)
    for vcpu in vcpus(guest, guest.vcpu_threads):
        prefix = f"vcpu.{vcpu.number}"
        yield StatsParam(f"{prefix}.state", P.INT, vcpu.state)
        yield StatsParam(f"{prefix}.time", P.ULLONG, vcpu.time_ns)
        yield StatsParam(f"{prefix}.wait", P.ULLONG, vcpu.wait_ns)
        yield StatsParam(f"{prefix}.delay", P.ULLONG, vcpu.delay_ns)


def _interfaces(guest: Guest) -> Iterator[StatsParam]:
    interfaces = guest.domain.devices.interfaces
    yield StatsParam("net.count", P.UINT, len(interfaces))
    words = [
        f"{side}.{what}" for side in ("rx", "tx") for what in ("bytes", "pkts", "errs", "drop")
    ]
    for number, interface in enumerate(interfaces):
        if not interface.target_dev:
            continue
        yield StatsParam(f"net.{number}.name", P.STRING, interface.target_dev)
        counters = interface_counters(interface.target_dev)
        for word, value in zip(words, counters or (), strict=False):
            yield StatsParam(f"net.{number}.{word}", P.ULLONG, value)


def _blocks(guest: Guest, answers: dict[str, object]) -> Iterator[StatsParam]:
    disks = guest.domain.devices.disks
    counters = _listed(answers.get("query-blockstats"), BlockStats)
    devices = _listed(answers.get("query-block"), BlockDevice)
    yield StatsParam("block.count", P.UINT, len(disks))
    for number, disk in enumerate(disks):
        prefix = f"block.{number}"
        yield StatsParam(f"{prefix}.name", P.STRING, disk.target.dev)
        path = source_of(disk)
        if path:
            yield StatsParam(f"{prefix}.path", P.STRING, path)
        found = next((one for one in counters if is_of(disk, one.qdev, one.device)), None)
        if found is not None:
            yield from _counters(prefix, found)
        device = next((one for one in devices if is_of(disk, one.qdev, one.device)), None)
        if device is not None and device.inserted is not None:
            yield from _sizes(prefix, found, device)


def _counters(prefix: str, found: BlockStats) -> Iterator[StatsParam]:
    stats = found.stats
    for word, value in (
        ("rd.reqs", stats.rd_operations),
        ("rd.bytes", stats.rd_bytes),
        ("rd.times", stats.rd_total_time_ns),
        ("wr.reqs", stats.wr_operations),
        ("wr.bytes", stats.wr_bytes),
        ("wr.times", stats.wr_total_time_ns),
        ("fl.reqs", stats.flush_operations),
        ("fl.times", stats.flush_total_time_ns),
    ):
        yield StatsParam(f"{prefix}.{word}", P.ULLONG, value)


def _sizes(prefix: str, found: BlockStats | None, device: BlockDevice) -> Iterator[StatsParam]:
    if found is not None and found.parent is not None:
        offset = found.parent.stats.wr_highest_offset
        yield StatsParam(f"{prefix}.allocation", P.ULLONG, offset)
    image = device.inserted.image if device.inserted else None
    if image is not None:
        yield StatsParam(f"{prefix}.capacity", P.ULLONG, image.virtual_size)
        actual = image.actual_size if image.actual_size is not None else image.virtual_size
        yield StatsParam(f"{prefix}.physical", P.ULLONG, actual)


def _iothreads(answers: dict[str, object]) -> Iterator[StatsParam]:
    threads = _listed(answers.get("query-iothreads"), IoThread)
    if not threads:
        return
    yield StatsParam("iothread.count", P.UINT, len(threads))
    for thread in threads:
        prefix = f"iothread.{thread.id.removeprefix('iothread')}"
        yield StatsParam(f"{prefix}.poll-max-ns", P.ULLONG, thread.poll_max_ns)
        yield StatsParam(f"{prefix}.poll-grow", P.UINT, thread.poll_grow)
        yield StatsParam(f"{prefix}.poll-shrink", P.UINT, thread.poll_shrink)


def _listed(answer: object, kind: type[T]) -> list[T]:
    """A list of answers; empty where the emulator refused."""
    if not isinstance(answer, list):
        return []
    return [one for one in answer if isinstance(one, kind)]
