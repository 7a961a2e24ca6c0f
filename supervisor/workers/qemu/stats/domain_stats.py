"""Domain statistics (virConnectGetAllDomainStats), in one round trip to QEMU.

Owns: the parameters' names. May touch: QEMU, by QMP; /proc and /sys, to read.
Source: libvirt 9.0, virConnectGetAllDomainStats.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final, TypeVar

from rpc.enums import (
    DomainDirtyRateStatus,
    DomainMemoryStatTags,
    DomainStatsTypes,
    TypedParameterType,
)
from rpc.errors import VirError
from supervisor.messages.worker import StatsParam
from supervisor.runtime.procfs import interface_counters
from supervisor.workers.qemu.balloon import current_kib
from supervisor.workers.qemu.block.nodes import disk_path, is_drive_of
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.perf import perf_stats
from supervisor.workers.qemu.qmp.monitor import Query
from supervisor.workers.qemu.qmp.replies import (
    BalloonInfo,
    BlockInfo,
    BlockStats,
    CpuInfoFast,
    DirtyRateInfo,
    GuestStats,
    IOThreadInfo,
)
from supervisor.workers.qemu.resctrl.monitors import bandwidth_stats, cache_stats
from supervisor.workers.qemu.stats.sources import (
    balloon_stats,
    resident_kib,
    vcpus,
)
from supervisor.workers.qemu.threads import threads_by_vcpu

log = logging.getLogger(__name__)

QUERY_S: Final = 0.75  # a domain that hangs must not delay the statistics of all others
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


DIRTY_RATE_STATES: Final = {
    "unstarted": DomainDirtyRateStatus.UNSTARTED,
    "measuring": DomainDirtyRateStatus.MEASURING,
    "measured": DomainDirtyRateStatus.MEASURED,
}
#: The queries of each group.
QUERIES: Final[dict[DomainStatsTypes, tuple[Query, ...]]] = {
    DomainStatsTypes.BALLOON: (Query("query-balloon", BalloonInfo),),
    DomainStatsTypes.VCPU: (Query("query-cpus-fast", list[CpuInfoFast]),),
    DomainStatsTypes.BLOCK: (
        Query("query-blockstats", list[BlockStats]),
        Query("query-block", list[BlockInfo]),
    ),
    DomainStatsTypes.IOTHREAD: (Query("query-iothreads", list[IOThreadInfo]),),
    DomainStatsTypes.DIRTYRATE: (Query("query-dirty-rate", DirtyRateInfo),),
}


async def get_stats(guest: Guest, groups: int) -> list[StatsParam]:
    """Collect the statistics of these groups (virDomainStatsTypes).

    Raises:
        VirError: OPERATION_TIMEOUT: QEMU does not reply, and never has.
    """
    queries = list(_queries(guest, groups))
    replies: dict[str, object] = {}
    if queries:
        results = await guest.replies.get_all(queries, timeout_s=QUERY_S)
        replies = {name: reply for (name, *_), reply in zip(queries, results, strict=True)}
    return list(_params(guest, groups, replies))


async def learn_stats(guest: Guest) -> None:
    """Have every statistic once, before a job during which QEMU may not reply."""
    try:
        await get_stats(guest, sum(QUERIES))
    except VirError as error:
        log.info("%s: not all statistics are known: %s", guest.name, error)


def _queries(guest: Guest, groups: int) -> Iterator[Query]:
    domain, balloon = guest.domain, guest.domain.devices.memballoon
    has_balloon = balloon is not None and balloon.model != "none"
    applies = {
        DomainStatsTypes.BALLOON: has_balloon,
        DomainStatsTypes.VCPU: not guest.vcpu_threads,
        DomainStatsTypes.BLOCK: bool(domain.devices.disks),
        DomainStatsTypes.IOTHREAD: bool(domain.iothread_list()),
        DomainStatsTypes.DIRTYRATE: True,
    }
    for group, queries in QUERIES.items():
        if groups & group and applies[group]:
            yield from queries
    if balloon is not None and has_balloon and groups & DomainStatsTypes.BALLOON:
        path = f"/machine/peripheral/{balloon.alias}"
        yield Query("qom-get", GuestStats, {"path": path, "property": "guest-stats"})


def _params(guest: Guest, groups: int, replies: dict[str, object]) -> Iterator[StatsParam]:
    if groups & DomainStatsTypes.CPU_TOTAL:
        yield from cache_stats(guest.domain.cputune, guest.machine)
    if groups & DomainStatsTypes.BALLOON:
        yield from _balloon(guest, replies)
    if groups & DomainStatsTypes.VCPU:
        yield from _vcpus(guest, replies)
    if groups & DomainStatsTypes.INTERFACE:
        yield from _interfaces(guest)
    if groups & DomainStatsTypes.BLOCK:
        yield from _blocks(guest, replies)
    if groups & DomainStatsTypes.IOTHREAD:
        yield from _iothreads(replies)
    if groups & DomainStatsTypes.PERF:
        yield from perf_stats(guest)
    if groups & DomainStatsTypes.MEMORY:
        yield from bandwidth_stats(guest.domain.cputune, guest.machine)
    if groups & DomainStatsTypes.DIRTYRATE:
        yield from _dirty_rate(replies)


def _balloon(guest: Guest, replies: dict[str, object]) -> Iterator[StatsParam]:
    domain = guest.domain
    info = replies.get("query-balloon")
    if isinstance(info, BalloonInfo):
        guest.balloon_kib = current_kib(domain, info.actual)
    current = guest.balloon_kib or domain.memory
    yield StatsParam("balloon.current", P.ULLONG, current)
    yield StatsParam("balloon.maximum", P.ULLONG, domain.memory)
    stats = replies.get("qom-get")
    if isinstance(stats, GuestStats):
        for tag, value in balloon_stats(stats):
            yield StatsParam(f"balloon.{TAGS[tag]}", P.ULLONG, value)
    yield StatsParam("balloon.rss", P.ULLONG, resident_kib(guest.process.pid))


def _vcpus(guest: Guest, replies: dict[str, object]) -> Iterator[StatsParam]:
    infos = replies.get("query-cpus-fast")
    if isinstance(infos, list):
        guest.vcpu_threads = threads_by_vcpu(guest, infos)
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
    names = [
        f"{side}.{counter}"
        for side in ("rx", "tx")
        for counter in ("bytes", "pkts", "errs", "drop")
    ]
    for number, interface in enumerate(interfaces):
        if not interface.target_dev:
            continue
        yield StatsParam(f"net.{number}.name", P.STRING, interface.target_dev)
        counters = interface_counters(interface.target_dev)
        for field, value in zip(names, counters or (), strict=False):
            yield StatsParam(f"net.{number}.{field}", P.ULLONG, value)


def _blocks(guest: Guest, replies: dict[str, object]) -> Iterator[StatsParam]:
    disks = guest.domain.devices.disks
    counters = _items(replies.get("query-blockstats"), BlockStats)
    devices = _items(replies.get("query-block"), BlockInfo)
    yield StatsParam("block.count", P.UINT, len(disks))
    for number, disk in enumerate(disks):
        prefix = f"block.{number}"
        yield StatsParam(f"{prefix}.name", P.STRING, disk.target.dev)
        path = disk_path(disk)
        if path:
            yield StatsParam(f"{prefix}.path", P.STRING, path)
        if disk.source is not None and disk.source.index is not None:
            yield StatsParam(f"{prefix}.backingIndex", P.UINT, disk.source.index)
        stats = next(
            (drive for drive in counters if is_drive_of(disk, drive.qdev, drive.device)), None
        )
        if stats is not None:
            yield from _counters(prefix, stats)
        device = next(
            (drive for drive in devices if is_drive_of(disk, drive.qdev, drive.device)), None
        )
        if device is not None and device.inserted is not None:
            yield from _sizes(prefix, stats, device)


def _counters(prefix: str, drive: BlockStats) -> Iterator[StatsParam]:
    stats = drive.stats
    for name, value in (
        ("rd.reqs", stats.rd_operations),
        ("rd.bytes", stats.rd_bytes),
        ("rd.times", stats.rd_total_time_ns),
        ("wr.reqs", stats.wr_operations),
        ("wr.bytes", stats.wr_bytes),
        ("wr.times", stats.wr_total_time_ns),
        ("fl.reqs", stats.flush_operations),
        ("fl.times", stats.flush_total_time_ns),
    ):
        yield StatsParam(f"{prefix}.{name}", P.ULLONG, value)


def _sizes(prefix: str, stats: BlockStats | None, device: BlockInfo) -> Iterator[StatsParam]:
    if stats is not None and stats.parent is not None:
        offset = stats.parent.stats.wr_highest_offset
        yield StatsParam(f"{prefix}.allocation", P.ULLONG, offset)
    image = device.inserted.image if device.inserted else None
    if image is not None:
        yield StatsParam(f"{prefix}.capacity", P.ULLONG, image.virtual_size)
        actual = image.actual_size if image.actual_size is not None else image.virtual_size
        yield StatsParam(f"{prefix}.physical", P.ULLONG, actual)


def _iothreads(replies: dict[str, object]) -> Iterator[StatsParam]:
    infos = _items(replies.get("query-iothreads"), IOThreadInfo)
    # <qemu:commandline> can make others, which are not the domain's.
    threads = [info for info in infos if info.id.removeprefix("iothread").isdecimal()]
    if not threads:
        return
    yield StatsParam("iothread.count", P.UINT, len(threads))
    for thread in threads:
        prefix = f"iothread.{thread.id.removeprefix('iothread')}"
        yield StatsParam(f"{prefix}.poll-max-ns", P.ULLONG, thread.poll_max_ns)
        yield StatsParam(f"{prefix}.poll-grow", P.UINT, thread.poll_grow)
        yield StatsParam(f"{prefix}.poll-shrink", P.UINT, thread.poll_shrink)


def _dirty_rate(replies: dict[str, object]) -> Iterator[StatsParam]:
    info = replies.get("query-dirty-rate")
    if not isinstance(info, DirtyRateInfo) or info.status not in DIRTY_RATE_STATES:
        return
    status = DIRTY_RATE_STATES[info.status]
    yield StatsParam("dirtyrate.calc_status", P.INT, status)
    yield StatsParam("dirtyrate.calc_start_time", P.LLONG, info.start_time)
    yield StatsParam("dirtyrate.calc_period", P.INT, info.calc_time)
    if info.mode is not None:
        yield StatsParam("dirtyrate.calc_mode", P.STRING, info.mode)
    if status is not DomainDirtyRateStatus.MEASURED or info.dirty_rate is None:
        return
    yield StatsParam("dirtyrate.megabytes_per_second", P.LLONG, info.dirty_rate)
    for vcpu in info.vcpu_dirty_rate:
        name = f"dirtyrate.vcpu.{vcpu.id}.megabytes_per_second"
        yield StatsParam(name, P.ULLONG, vcpu.dirty_rate)


def _items(reply: object, item_type: type[T]) -> list[T]:
    """Return the items of a reply; none where QEMU replied with an error."""
    if not isinstance(reply, list):
        return []
    return [item for item in reply if isinstance(item, item_type)]
