"""What a guest's group has in force, by the names and units of libvirt's parameters.

Owns: that translation from each version's files. May touch: the group's files, to read.
Source: libvirt 9.0, virDomainGetSchedulerParameters and its kin; Linux, cgroup-v1, cgroup-v2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.types.size import KIB
from supervisor.runtime.procfs import TICK_NS
from supervisor.workers.cgroups.group import Group
from supervisor.workers.cgroups.hierarchies import UNIFIED
from supervisor.workers.cgroups.limits import DEFAULT_PERIOD, UNLIMITED_KIB, has_bfq, weight_file

PAGE_KIB: Final = 64  # the largest page size of an architecture


@dataclass(frozen=True, slots=True)
class CpuBandwidth:
    """CPU time that a group may use, in microseconds."""

    period: int
    quota: int  # of each period; -1: all of it


@dataclass(frozen=True, slots=True)
class GroupCpuTimes:
    """CPU time in ns; the kernel rounds the parts differently from the total."""

    total: int
    user: int
    system: int


def shares(group: Group) -> int:
    """Read the CPU weight.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    return int(group.read("cpu", shares_file(group)))


def shares_file(group: Group) -> str:
    """Name the file of the CPU weight."""
    return "cpu.shares" if group.is_v1("cpu") else "cpu.weight"


def bandwidth_files(group: Group) -> dict[str, tuple[str, ...]]:
    """Name the files of the CFS bandwidth, with what their words are."""
    if group.is_v1("cpu"):
        return {"cpu.cfs_period_us": ("period",), "cpu.cfs_quota_us": ("quota",)}
    return {"cpu.max": ("quota", "period")}


def bandwidth(group: Group) -> CpuBandwidth:
    """Read the CFS bandwidth.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    if group.is_v1("cpu"):
        period = group.read("cpu", "cpu.cfs_period_us")
        quota = group.read("cpu", "cpu.cfs_quota_us")
    else:
        quota, _, period = group.read("cpu", "cpu.max").partition(" ")
    return CpuBandwidth(int(period or DEFAULT_PERIOD), -1 if quota == "max" else int(quota))


def memory(group: Group) -> dict[str, int]:
    """Read the memory limits in KiB.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    version_1 = group.is_v1("memory")
    files = (
        ("memory.limit_in_bytes", "memory.soft_limit_in_bytes")
        if version_1
        else ("memory.max", "memory.high")
    )
    hard, soft = (as_kib(group.read("memory", file)) for file in files)
    swap_file = "memory.memsw.limit_in_bytes" if version_1 else "memory.swap.max"
    swap = as_kib(group.read("memory", swap_file))
    if not version_1 and swap < UNLIMITED_KIB:
        swap = min(swap + hard, UNLIMITED_KIB)
    return {"hard_limit": hard, "soft_limit": soft, "swap_hard_limit": swap}


def as_kib(text: str) -> int:
    """Convert a limit to KiB; version 1 shows no limit as the largest number of whole pages."""
    if text == "max" or not 0 <= int(text) // KIB < UNLIMITED_KIB - PAGE_KIB:
        return UNLIMITED_KIB
    return int(text) // KIB


def blkio_weight(group: Group) -> int:
    """Read the block I/O weight.

    Raises:
        VirError: SYSTEM_ERROR: the host has no I/O scheduler with weights.
    """
    file = weight_file(group.layout.v1_controllers, bfq=has_bfq(group))
    text = group.read("blkio", file)
    return int(text.removeprefix("default ").split("\n")[0])


def cpu_times(group: Group) -> GroupCpuTimes:
    """Read the CPU time of all processes of the group, those that have exited too.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    if group.is_v1("cpuacct") and group.has("cpuacct"):
        total = int(group.read("cpuacct", "cpuacct.usage"))
        ticks = parse_counters(group.read("cpuacct", "cpuacct.stat"))
        return GroupCpuTimes(
            total, ticks.get("user", 0) * TICK_NS, ticks.get("system", 0) * TICK_NS
        )
    micros = parse_counters(group.read(UNIFIED, "cpu.stat"))
    names = ("usage_usec", "user_usec", "system_usec")
    return GroupCpuTimes(*(micros.get(name, 0) * 1000 for name in names))


def percpu_times(group: Group) -> list[int]:
    """Read the CPU time in ns on each CPU of the host; version 2 does not count it."""
    if not (group.is_v1("cpuacct") and group.has("cpuacct")):
        return []
    return [int(name) for name in group.read("cpuacct", "cpuacct.usage_percpu").split()]


def memory_kib(group: Group) -> int:
    """Read the memory of a group in KiB, page cache included.

    Raises:
        VirError: SYSTEM_ERROR: it cannot be read.
    """
    file = "memory.usage_in_bytes" if group.is_v1("memory") else "memory.current"
    return int(group.read("memory", file)) // KIB


def memory_stat(group: Group) -> dict[str, int]:
    """Read memory.stat: bytes and counts by the kernel's names."""
    return parse_counters(group.read("memory", "memory.stat"))


def parse_counters(text: str) -> dict[str, int]:
    """Parse lines of a name and a number."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
