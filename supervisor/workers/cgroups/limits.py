"""cgroup limits: the tuning elements of the XML as values of each version's controllers.

Owns: that mapping, for a start and for changes while the guest runs. Pure, but for `has_bfq`.
Source: Linux, Documentation/admin-guide/cgroup-v1, cgroup-v2; libvirt 9.0 formatdomain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from conf.domain import Domain
from conf.domain.tuning import Blkiotune, Memtune
from conf.errors import ConfError
from rpc.errors import VirError
from supervisor.workers.cgroups.group import Group, Limit

UNLIMITED_KIB: Final = 9007199254740991  # VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
DEFAULT_PERIOD: Final = 100000  # microseconds
SHARES: Final = (2, 262144)
WEIGHTS: Final = (1, 10000)
SWAP_BELOW_MEMORY: Final = (
    "memory hard_limit tunable value must be lower than or equal to swap_hard_limit"
)


def limits_from(
    domain: Domain,
    v1_controllers: frozenset[str],
    device_numbers: Mapping[str, str],
    max_tasks: int = 0,
    *,
    bfq: bool = False,
) -> list[Limit]:
    """List all limits of a container, in an order in which the kernel accepts them.

    Args:
        domain: the container's.
        v1_controllers: the controllers that the host has as version 1.
        device_numbers: "MAJOR:MINOR" by the path in the XML.
        max_tasks: that it may have at a time; 0: as many as it likes.
        bfq: whether I/O weights are those of the BFQ scheduler (`has_bfq`).

    Raises:
        ConfError: a number is out of the controller's range.
    """
    limits = [*memory_limits(domain, v1_controllers), *cpu_limits(domain, v1_controllers)]
    if domain.vcpu is not None and domain.vcpu.cpuset:
        limits.append(cpuset_limit(domain.vcpu.cpuset))
    memory = domain.numatune.memory if domain.numatune is not None else None
    if memory is not None and memory.nodeset:
        limits.append(Limit("cpuset", "cpuset.mems", memory.nodeset))
    if domain.blkiotune is not None:
        limits += blkio_limits(domain.blkiotune, v1_controllers, device_numbers, bfq=bfq)
    if max_tasks:
        limits.append(Limit("pids", "pids.max", str(max_tasks)))
    return limits


def cpuset_limit(cpuset: str) -> Limit:
    """Limit the container to CPUs of the host (cpuset.cpus)."""
    return Limit("cpuset", "cpuset.cpus", cpuset)


def memory_limits(domain: Domain, v1_controllers: frozenset[str]) -> list[Limit]:
    """Convert <memory> and <memtune> of a container to cgroup limits."""
    current = domain.current_memory.amount if domain.current_memory else domain.memory
    return memtune_limits(domain.memtune or Memtune(), v1_controllers, hard=current)


def memtune_limits(
    tune: Memtune, v1_controllers: frozenset[str], hard: int = UNLIMITED_KIB
) -> list[Limit]:
    """Convert <memtune> to cgroup limits; `hard`: the limit in KiB where it says none."""
    limits = []
    if tune.hard_limit:
        hard = tune.hard_limit.amount
    if tune.hard_limit or hard < UNLIMITED_KIB:
        limits.append(hard_limit(hard, v1_controllers))
    if tune.soft_limit:
        limits.append(soft_limit(tune.soft_limit.amount, v1_controllers))
    if tune.swap_hard_limit:
        limits.append(swap_limit(tune.swap_hard_limit.amount, hard, v1_controllers))
    return limits


def hard_limit(kib: int, v1_controllers: frozenset[str]) -> Limit:
    """Limit the memory (memory.max, memory.limit_in_bytes)."""
    if "memory" in v1_controllers:
        return Limit("memory", "memory.limit_in_bytes", _bytes(kib, "-1"))
    return Limit("memory", "memory.max", _bytes(kib, "max"))


def soft_limit(kib: int, v1_controllers: frozenset[str]) -> Limit:
    """Set what memory is reclaimed down to when the host is short of it (memory.high)."""
    if "memory" in v1_controllers:
        return Limit("memory", "memory.soft_limit_in_bytes", _bytes(kib, "-1"))
    return Limit("memory", "memory.high", _bytes(kib, "max"))


def swap_limit(kib: int, hard_kib: int, v1_controllers: frozenset[str]) -> Limit:
    """Limit memory and swap together; version 2 limits swap alone.

    Raises:
        ConfError: both together are less than memory alone.
    """
    if kib < hard_kib and kib < UNLIMITED_KIB:
        raise ConfError("invalid_arg", SWAP_BELOW_MEMORY, "domain/memtune/swap_hard_limit")
    if "memory" in v1_controllers:
        return Limit("memory", "memory.memsw.limit_in_bytes", _bytes(kib, "-1"))
    swap = kib if kib >= UNLIMITED_KIB else kib - min(hard_kib, kib)
    return Limit("memory", "memory.swap.max", _bytes(swap, "max"))


def _bytes(kib: int, unlimited: str) -> str:
    return unlimited if kib >= UNLIMITED_KIB else str(kib * 1024)


def cpu_limits(domain: Domain, v1_controllers: frozenset[str]) -> list[Limit]:
    """Convert <cputune>'s shares and bandwidth to limits.

    Raises:
        ConfError: the shares are out of range.
    """
    tune = domain.cputune
    if tune is None:
        return []
    weights = [shares(tune.shares, v1_controllers)] if tune.shares is not None else []
    return [*weights, *bandwidth(tune.period, tune.quota, v1_controllers)]


def shares(value: int, v1_controllers: frozenset[str]) -> Limit:
    """Convert <shares> to the CPU weight of the container.

    Raises:
        ConfError: it is out of the controller's range.
    """
    least, most = SHARES if "cpu" in v1_controllers else WEIGHTS
    if not least <= value <= most:
        detail = f"shares '{value}' must be in range [{least}, {most}]"
        raise ConfError("invalid_arg", detail, "domain/cputune/shares")
    return Limit("cpu", "cpu.shares" if "cpu" in v1_controllers else "cpu.weight", str(value))


def bandwidth(period: int | None, quota: int | None, v1_controllers: frozenset[str]) -> list[Limit]:
    """Limit CPU time to `quota` of each `period`, in microseconds; none below 0."""
    if period is None and quota is None:
        return []
    if "cpu" not in v1_controllers:
        most = str(quota) if quota is not None and quota > 0 else "max"
        return [Limit("cpu", "cpu.max", f"{most} {period or DEFAULT_PERIOD}")]
    limits = [Limit("cpu", "cpu.cfs_period_us", str(period))] if period else []
    if quota:
        limits.append(Limit("cpu", "cpu.cfs_quota_us", str(max(quota, -1))))
    return limits


def blkio_limits(
    tune: Blkiotune,
    v1_controllers: frozenset[str],
    device_numbers: Mapping[str, str],
    *,
    bfq: bool = False,
) -> list[Limit]:
    """Convert <blkiotune> to limits.

    Raises:
        ConfError: the host has no such block device.
    """
    weight = weight_file(v1_controllers, bfq=bfq)
    limits = [Limit("blkio", weight, str(tune.weight))] if tune.weight else []
    for device in tune.devices:
        number = device_numbers.get(device.path or "")
        if number is None:
            detail = f"'{device.path}' is no block device of this host"
            raise ConfError("invalid_arg", detail, "domain/blkiotune/device/path")
        if device.weight:
            file = f"{weight}_device" if "blkio" in v1_controllers else weight
            limits.append(Limit("blkio", file, f"{number} {device.weight}"))
        for name in THROTTLES:
            value = getattr(device, name)
            if value:
                limits.append(throttle(name, number, value, v1_controllers))
    return limits


def weight_file(v1_controllers: frozenset[str], *, bfq: bool) -> str:
    """Return the file of the block I/O weight."""
    prefix = "blkio" if "blkio" in v1_controllers else "io"
    return f"{prefix}.bfq.weight" if bfq else f"{prefix}.weight"


def has_bfq(group: Group) -> bool:
    """Return whether I/O weights are those of the BFQ scheduler: this kernel has no others."""
    try:
        folder = group.layout.folder("blkio", group.path)
    except VirError:
        return False
    if not group.is_v1("blkio"):
        return (folder / "io.bfq.weight").exists()
    root = group.layout.hierarchies["blkio"]  # the root group has no weight, but BFQ's counters
    return any(root.glob("blkio.bfq.*")) or (folder / "blkio.bfq.weight").exists()


#: A throttle's file in version 1, and its key in version 2's io.max.
THROTTLES: Final = {
    "read_iops_sec": ("blkio.throttle.read_iops_device", "riops"),
    "write_iops_sec": ("blkio.throttle.write_iops_device", "wiops"),
    "read_bytes_sec": ("blkio.throttle.read_bps_device", "rbps"),
    "write_bytes_sec": ("blkio.throttle.write_bps_device", "wbps"),
}


def throttle(name: str, number: str, value: int, v1_controllers: frozenset[str]) -> Limit:
    """Throttle one device; 0 resets it."""
    file, key = THROTTLES[name]
    if "blkio" in v1_controllers:
        return Limit("blkio", file, f"{number} {value}")
    return Limit("blkio", "io.max", f"{number} {key}={value or 'max'}")


def setting_lines(limits: list[Limit], v1_controllers: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Convert limits to liblxc's settings, lxc.cgroup.* or lxc.cgroup2.*."""
    for limit in limits:
        prefix = "lxc.cgroup" if limit.controller in v1_controllers else "lxc.cgroup2"
        yield f"{prefix}.{limit.file}", limit.value
