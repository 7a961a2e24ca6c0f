"""Tuning of a running container: read its cgroup limits from the kernel, and change them.

Owns: which limits change, and undoing a failed change. May touch: the container's cgroups.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.domain import Domain, parse_domain
from conf.types.size import KIB
from rpc.enums import TypedParameterType as P
from rpc.errors import VirError
from supervisor.messages.worker import StatsParam
from supervisor.workers import cgroups
from supervisor.workers.cgroups import Limit
from supervisor.workers.lxc import checks
from supervisor.workers.lxc.config.limits import DEFAULT_PERIOD, UNLIMITED_KIB, limits_from
from supervisor.workers.lxc.container import Container

TUNED: Final = ("memtune", "cputune", "blkiotune", "current_memory")
PAGE_KIB: Final = 64  # the largest page size of an architecture


def set_tuning(container: Container, xml: str) -> None:
    """Set the limits of <memtune>, <cputune>, <blkiotune> and <currentMemory>.

    Args:
        container: the running container.
        xml: its live XML with other limits.

    Raises:
        ConfError: a number is out of range. VirError: the kernel refuses; the former limits hold.
    """
    requested = parse_domain(xml)
    before, after = _limits(container.domain), _limits(requested)
    write_limits(container.group, plan_change(before, after), before)
    for name in TUNED:
        setattr(container.domain, name, getattr(requested, name))
    container.update_xml()


def _limits(domain: Domain) -> list[Limit]:
    return limits_from(domain, cgroups.layout().v1_controllers, checks.device_numbers(domain))


def plan_change(before: list[Limit], after: list[Limit]) -> list[Limit]:
    """List the values to write: resets of removed throttles, then the new limits in order."""
    gone = [lift for limit in before if limit not in after and (lift := reset_of(limit, after))]
    return [*gone, *(limit for limit in after if limit not in before)]


def reset_of(limit: Limit, after: list[Limit]) -> Limit | None:
    """Return the value that resets a device's throttle; None if it is replaced or cannot be."""
    number, _, value = limit.value.partition(" ")
    key = value.partition("=")[0] if "=" in value else ""
    if any(new.file == limit.file and new.value.startswith(f"{number} {key}") for new in after):
        return None
    if limit.file.startswith("blkio.throttle."):
        return Limit(limit.controller, limit.file, f"{number} 0")
    if limit.file == "io.max":
        return Limit(limit.controller, limit.file, f"{number} {key}=max")
    return None


def write_limits(group: str, limits: list[Limit], before: list[Limit]) -> None:
    """Write limits, a refused one again after the others.

    memory.limit_in_bytes may not exceed memory.memsw.limit_in_bytes at any moment, so their order
    depends on whether both grow or shrink.

    Raises:
        VirError: SYSTEM_ERROR; the former limits are set back.
    """
    pending = limits
    try:
        for last in (False, True):
            refused = []
            for limit in pending:
                try:
                    cgroups.write(group, limit)
                except VirError:
                    if last:
                        raise
                    refused.append(limit)
            pending = refused
    except VirError:
        for limit in (*before, *reversed(before)):
            cgroups.restore(group, limit)
        raise


def get_tuning(container: Container) -> list[StatsParam]:
    """Read the limits from the kernel; those of missing controllers are left out."""
    params: list[StatsParam] = []
    for read in (_scheduler, _memory, _blkio):
        try:
            params += read(container.group)
        except VirError:  # a controller that this host lacks
            continue
    return params


def _scheduler(group: str) -> Iterator[StatsParam]:
    version_1 = "cpu" in cgroups.layout().v1_controllers
    shares = cgroups.read("cpu", group, "cpu.shares" if version_1 else "cpu.weight")
    yield StatsParam("cpu_shares", P.ULLONG, int(shares))
    if version_1:
        period = cgroups.read("cpu", group, "cpu.cfs_period_us")
        quota = cgroups.read("cpu", group, "cpu.cfs_quota_us")
    else:
        quota, _, period = cgroups.read("cpu", group, "cpu.max").partition(" ")
    yield StatsParam("vcpu_period", P.ULLONG, int(period or DEFAULT_PERIOD))
    yield StatsParam("vcpu_quota", P.LLONG, -1 if quota == "max" else int(quota))


def _memory(group: str) -> Iterator[StatsParam]:
    version_1 = "memory" in cgroups.layout().v1_controllers
    files = (
        ("memory.limit_in_bytes", "memory.soft_limit_in_bytes")
        if version_1
        else ("memory.max", "memory.high")
    )
    hard, soft = (as_kib(cgroups.read("memory", group, file)) for file in files)
    yield StatsParam("hard_limit", P.ULLONG, hard)
    yield StatsParam("soft_limit", P.ULLONG, soft)
    file = "memory.memsw.limit_in_bytes" if version_1 else "memory.swap.max"
    swap = as_kib(cgroups.read("memory", group, file))
    if not version_1 and swap < UNLIMITED_KIB:
        swap = min(swap + hard, UNLIMITED_KIB)
    yield StatsParam("swap_hard_limit", P.ULLONG, swap)


def as_kib(text: str) -> int:
    """Convert a limit to KiB; version 1 shows no limit as the largest number of whole pages."""
    if text == "max" or int(text) // KIB >= UNLIMITED_KIB - PAGE_KIB:
        return UNLIMITED_KIB
    return int(text) // KIB


def _blkio(group: str) -> Iterator[StatsParam]:
    if "blkio" in cgroups.layout().v1_controllers:
        text = cgroups.read("blkio", group, "blkio.weight")
    else:
        text = cgroups.read("blkio", group, "io.weight").removeprefix("default ").split("\n")[0]
    yield StatsParam("weight", P.UINT, int(text))
