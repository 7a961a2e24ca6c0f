"""What the emulator and the kernel count for a guest, as typed answers.

Owns: asking and reading. May touch: the emulator, by QMP; /proc and /sys, to read.
May not touch: how clients are told (`sampling`, `calls.statistics`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
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
from supervisor.workers.qemu.qmp.replies import CpuInfoFast, GuestStats

#: QEMU's names of the balloon driver's figures, and how many bytes their unit has.
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
    """What the balloon driver has reported; figures that the guest did not give are left out."""
    for name, (tag, unit) in BALLOON_STATS.items():
        value = stats.stats.get(name, -1)
        if 0 <= value < 1 << 63:
            yield tag, value // unit
    if stats.last_update >= 0:
        yield DomainMemoryStatTags.LAST_UPDATE, stats.last_update


def resident_kib(pid: int) -> int:
    """How much of the host's memory a process has."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // KIB


@dataclass(frozen=True, slots=True)
class Vcpu:
    """A processor's thread."""

    number: int
    state: VcpuState
    time_ns: int
    wait_ns: int
    delay_ns: int
    cpu: int  # the host's processor that it ran on last
    thread: int


def read_vcpu(number: int, pid: int, thread: int) -> Vcpu | None:
    """What the kernel has counted for a processor; None: it has gone."""
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
    """How long a thread has waited for what it asked for, in ns; 0 where it is not counted."""
    try:
        for line in (folder / "sched").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("se.statistics.wait_sum", "wait_sum"):
                return int(float(value) * 1_000_000)  # milliseconds with a fraction
    except (OSError, ValueError):
        pass
    return 0


async def vcpu_threads(guest: Guest) -> list[int]:
    """The processors' threads, in their order; they do not change while the guest runs."""
    if not guest.vcpu_threads:
        cpus = await guest.monitor.query("query-cpus-fast", list[CpuInfoFast])
        ordered = sorted(cpus, key=lambda cpu: cpu.cpu_index)
        guest.vcpu_threads = [cpu.thread_id for cpu in ordered]
    return guest.vcpu_threads


def vcpus(guest: Guest, threads: Iterable[int]) -> Iterator[Vcpu]:
    """What the kernel has counted for the guest's processors."""
    for number, thread in enumerate(threads):
        vcpu = read_vcpu(number, guest.process.pid, thread)
        if vcpu is not None:
            yield vcpu


def find_disk(domain: Domain, path: str) -> Disk | None:
    """The disk that a client names by its target, or by its source."""
    for disk in domain.devices.disks:
        if path in (disk.target.dev, disk_path(disk)) and path:
            return disk
    return None
