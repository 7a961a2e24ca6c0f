"""What watched vCPUs use of caches and of memory bandwidth, for the domain's statistics.

Owns: reading it. May touch: the guest's groups in the resctrl file system, to read.
Source: libvirt 9.0, qemuDomainGetStatsCpuCache, qemuDomainGetStatsMemoryBandwidth.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from conf.domain.tuning import Cputune
from rpc.enums import TypedParameterType as P
from supervisor.messages.worker import StatsParam
from supervisor.workers.qemu.resctrl.groups import identity, vcpu_groups
from supervisor.workers.qemu.resctrl.host import RESCTRL

OCCUPANCY: Final = "llc_occupancy"
TOTAL: Final = "mbm_total_bytes"
LOCAL: Final = "mbm_local_bytes"

log = logging.getLogger(__name__)


def cache_stats(tune: Cputune | None, machine: str, root: Path = RESCTRL) -> Iterator[StatsParam]:
    """Yield cpu.cache.monitor.*: bytes of each last-level cache that the vCPUs occupy."""
    monitors = [
        (vcpus, group.monitor(root, machine, vcpus))
        for group in vcpu_groups(tune)
        for vcpus in group.cache_monitors
    ]
    monitors = monitors if OCCUPANCY in features(root) else []
    yield StatsParam("cpu.cache.monitor.count", P.UINT, len(monitors))
    for number, (vcpus, path) in enumerate(monitors):
        prefix = f"cpu.cache.monitor.{number}"
        yield from _names(prefix, vcpus)
        banks = read_counters(path, (OCCUPANCY,))
        yield StatsParam(f"{prefix}.bank.count", P.UINT, len(banks))
        for place, (bank, (used,)) in enumerate(banks):
            yield StatsParam(f"{prefix}.bank.{place}.id", P.UINT, bank)
            yield StatsParam(f"{prefix}.bank.{place}.bytes", P.UINT, min(used, 0xFFFFFFFF))


def bandwidth_stats(
    tune: Cputune | None, machine: str, root: Path = RESCTRL
) -> Iterator[StatsParam]:
    """Yield memory.bandwidth.monitor.*: bytes that went through each memory controller."""
    monitors = [
        (vcpus, group.monitor(root, machine, vcpus))
        for group in vcpu_groups(tune)
        for vcpus in group.bandwidth_monitors
    ]
    if not monitors or TOTAL not in features(root):
        return
    yield StatsParam("memory.bandwidth.monitor.count", P.UINT, len(monitors))
    for number, (vcpus, path) in enumerate(monitors):
        prefix = f"memory.bandwidth.monitor.{number}"
        yield from _names(prefix, vcpus)
        nodes = read_counters(path, (TOTAL, LOCAL))
        yield StatsParam(f"{prefix}.node.count", P.UINT, len(nodes))
        for place, (node, (total, local)) in enumerate(nodes):
            yield StatsParam(f"{prefix}.node.{place}.id", P.UINT, node)
            yield StatsParam(f"{prefix}.node.{place}.bytes.total", P.ULLONG, total)
            yield StatsParam(f"{prefix}.node.{place}.bytes.local", P.ULLONG, local)


def _names(prefix: str, vcpus: str) -> Iterator[StatsParam]:
    yield StatsParam(f"{prefix}.name", P.STRING, identity(vcpus))
    yield StatsParam(f"{prefix}.vcpus", P.STRING, vcpus)


def features(root: Path) -> frozenset[str]:
    """Read what the host can count; nothing without resctrl."""
    try:
        return frozenset((root / "info/L3_MON/mon_features").read_text().split())
    except OSError:
        return frozenset()


def read_counters(group: Path, names: tuple[str, ...]) -> list[tuple[int, list[int]]]:
    """Read the counters of each cache or controller, by its id; of a lost group there are none."""
    found = []
    try:
        for folder in (group / "mon_data").iterdir():
            values = [int((folder / name).read_text()) for name in names]
            found.append((int(folder.name.rpartition("_")[2]), values))
    except (OSError, ValueError) as error:  # "Unavailable", where the kernel has no counter left
        log.warning("the monitors of %s cannot be read: %s", group.name, error)
    return sorted(found)
