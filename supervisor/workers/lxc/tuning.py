"""Limits of a running container: read from the kernel, and changed.

Owns: which of them changes, and undoing what failed half-way. May touch: the container's cgroups.
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
PAGE_KIB: Final = 64  # the largest that a kernel has


def set_tuning(container: Container, xml: str) -> None:
    """Have the limits of another document; the container's others stay.

    Args:
        container: that runs.
        xml: its live document, with other limits.

    Raises:
        ConfError: a number is out of range. VirError: the kernel refuses; nothing has changed then.
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
    """What is to be written, in the order of the new limits; throttles that went are lifted."""
    gone = [lift for limit in before if limit not in after and (lift := reset_of(limit, after))]
    return [*gone, *(limit for limit in after if limit not in before)]


def reset_of(limit: Limit, after: list[Limit]) -> Limit | None:
    """What takes a device's limit away; None: it has another, or cannot go."""
    number, _, value = limit.value.partition(" ")
    word = value.partition("=")[0] if "=" in value else ""
    if any(one.file == limit.file and one.value.startswith(f"{number} {word}") for one in after):
        return None
    if limit.file.startswith("blkio.throttle."):
        return Limit(limit.controller, limit.file, f"{number} 0")
    if limit.file == "io.max":
        return Limit(limit.controller, limit.file, f"{number} {word}=max")
    return None


def write_limits(group: str, limits: list[Limit], before: list[Limit]) -> None:
    """Write limits; one that the kernel refuses may want another one first.

    Raises:
        VirError: SYSTEM_ERROR; the former limits hold again.
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
    """The limits as the kernel has them; those that it does not have are left out."""
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
    """A limit in KiB; what the kernel rounds down from no limit at all, to a page, is none."""
    if text == "max" or int(text) // KIB >= UNLIMITED_KIB - PAGE_KIB:
        return UNLIMITED_KIB
    return int(text) // KIB


def _blkio(group: str) -> Iterator[StatsParam]:
    if "blkio" in cgroups.layout().v1_controllers:
        text = cgroups.read("blkio", group, "blkio.weight")
    else:
        text = cgroups.read("blkio", group, "io.weight").removeprefix("default ").split("\n")[0]
    yield StatsParam("weight", P.UINT, int(text))
