"""Sources of statistics: the balloon, vCPU threads, disks.

Owns: reading them. May touch: QEMU, by QMP; /proc, to read.
May not touch: what clients get (`domain_stats`, `calls.statistics`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.disk import Disk
from conf.types.size import KIB
from rpc.enums import DomainMemoryStatTags, VcpuState
from supervisor.runtime.procfs import read_stat
from supervisor.workers.qemu.block.nodes import disk_path
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.replies import GuestStats

#: The balloon driver's statistics, and the divisor from bytes to libvirt's unit.
BALLOON_STATS: Final = {
    "stat-swap-in": (DomainMemoryStatTags.SWAP_IN, KIB),
    "stat-swap-out": (DomainMemoryStatTags.SWAP_OUT, KIB),
    "stat-major-faults": (DomainMemoryStatTags.MAJOR_FAULT, 1),
    "stat-minor-faults": (DomainMemoryStatTags.MINOR_FAULT, 1),
    "stat-free-memory": (DomainMemoryStatTags.UNUSED, KIB),
    "stat-total-memory": (DomainMemoryStatTags.AVAILABLE, KIB),
    "stat-available-memory": (DomainMemoryStatTags.USABLE, KIB),
    "stat-disk-caches": (DomainMemoryStatTags.DISK_CACHES, KIB),
    "stat-htlb-pgalloc": (DomainMemoryStatTags.HUGETLB_PGALLOC, 1),
    "stat-htlb-pgfail": (DomainMemoryStatTags.HUGETLB_PGFAIL, 1),
}


def balloon_stats(stats: GuestStats) -> Iterator[tuple[DomainMemoryStatTags, int]]:
    """List what the balloon driver has reported; QEMU has -1 for what the guest did not send."""
    for name, (tag, unit) in BALLOON_STATS.items():
        value = stats.stats.get(name, -1)
        if 0 <= value < 1 << 63:
            yield tag, value // unit
    if stats.last_update >= 0:
        yield DomainMemoryStatTags.LAST_UPDATE, stats.last_update


def resident_kib(pid: int) -> int:
    """Read the resident memory of a process; 0 if it has exited."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // KIB


@dataclass(frozen=True, slots=True)
class Vcpu:
    """A vCPU, by its thread."""

    number: int
    state: VcpuState
    time_ns: int
    wait_ns: int
    delay_ns: int
    cpu: int  # the host CPU that it ran on last
    thread: int


def read_vcpu(number: int, pid: int, thread: int) -> Vcpu | None:
    """Read a vCPU thread's counters; None: it has exited."""
    stat = read_stat(pid, thread)
    if stat is None:
        return None
    folder = Path(f"/proc/{pid}/task/{thread}")
    state = VcpuState.RUNNING if stat.state in ("R", "S", "D", "T", "t") else VcpuState.OFFLINE
    delay = _number(folder / "schedstat", 1)
    return Vcpu(number, state, stat.cpu.total, _wait(folder), delay, stat.processor, thread)


def _number(path: Path, position: int) -> int:
    try:
        return int(path.read_text().split()[position])
    except (OSError, IndexError, ValueError):
        return 0


def _wait(folder: Path) -> int:
    """Read how long a thread has waited, in ns; 0 without CONFIG_SCHED_DEBUG."""
    try:
        for line in (folder / "sched").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("se.statistics.wait_sum", "wait_sum"):
                return int(float(value) * 1_000_000)  # milliseconds with a fraction
    except (OSError, ValueError):
        pass
    return 0


def vcpus(guest: Guest, threads: Mapping[int, int]) -> Iterator[Vcpu]:
    """Read the counters of the vCPUs' threads."""
    for number, thread in threads.items():
        vcpu = read_vcpu(number, guest.process.pid, thread)
        if vcpu is not None:
            yield vcpu


def find_disk(domain: Domain, path: str) -> Disk | None:
    """Find the disk that a client names by its target or its source."""
    for disk in domain.devices.disks:
        if path in (disk.target.dev, disk_path(disk)) and path:
            return disk
    return None
