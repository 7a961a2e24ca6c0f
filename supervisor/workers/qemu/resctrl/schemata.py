"""Which part of a cache a group gets: the schemata that the kernel is told. Pure.

Owns: that choice, and its refusals.
Source: libvirt 9.0, virResctrlAllocAssign: of the runs of bits that no group has, one of the right
length, else the shortest that is long enough, is used from its first bit on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from conf.domain.resctrl import CacheShare, MemoryShare
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.resctrl.host import (
    BANDWIDTH,
    Allocation,
    CacheControl,
    HostResctrl,
)

SCOPES: Final = {"both": "", "code": "CODE", "data": "DATA"}
UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def plan_schemata(
    host: HostResctrl, caches: Sequence[CacheShare], nodes: Sequence[MemoryShare]
) -> str:
    """Plan a group's schemata: what the XML says, and the default group's for all else.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the host cannot do it, or has no room left.
    """
    if not host.is_supported:
        raise unsupported("Resource control is not supported on this host")
    allocation: Allocation = {name: dict(values) for name, values in host.default.items()}
    for node in nodes:
        _check_bandwidth(host, node)
        allocation.setdefault(BANDWIDTH, {})[node.id] = str(node.bandwidth)
    for share in caches:
        resource = f"L{share.level}{SCOPES[share.type]}"
        mask = _choose_mask(host, resource, share)
        allocation.setdefault(resource, {})[share.id] = f"{mask:x}"
    return "".join(f"{name}:{_values(values)}\n" for name, values in allocation.items())


def _values(values: dict[int, str]) -> str:
    return ";".join(f"{number}={value}" for number, value in sorted(values.items()))


def _check_bandwidth(host: HostResctrl, node: MemoryShare) -> None:
    control, size = host.bandwidth, node.bandwidth
    if control is None:
        raise unsupported("RDT Memory Bandwidth allocation unsupported")
    if size % control.granularity:
        raise unsupported(
            f"Memory Bandwidth allocation of size {size} is not divisible by granularity "
            f"{control.granularity}"
        )
    if size < control.minimum:
        raise unsupported(
            f"Memory Bandwidth allocation of size {size} is smaller than the minimum allowed "
            f"allocation {control.minimum}"
        )
    highest = max(host.default.get(BANDWIDTH, {}), default=-1)
    if node.id > highest:
        raise unsupported(
            f"bandwidth controller id {node.id} does not exist, max controller id {highest}"
        )


def _choose_mask(host: HostResctrl, resource: str, share: CacheShare) -> int:
    """Choose bits of a cache that nobody has; raises as `plan_schemata`."""
    control = host.caches.get(resource)
    if control is None:
        if not any(name.rstrip("CODEAT") == f"L{share.level}" for name in host.caches):
            raise unsupported(f"Cache level {share.level} does not support tuning")
        raise unsupported(
            f"Cache level {share.level} does not support tuning for scope type '{share.type}'"
        )
    if share.id not in host.default.get(resource, {}) or not control.granularity(share.id):
        raise unsupported(f"Cache with id {share.id} does not exists for level {share.level}")
    need = _bits_needed(control, share)
    free = (1 << control.bits) - 1
    for group in (host.default, *host.groups):
        free &= ~int(group.get(resource, {}).get(share.id, "0"), 16)
    fitting = [(length, start) for start, length in runs(free) if length >= need]
    if not fitting:
        raise unsupported(
            f"Not enough room for allocation of {_bytes(share)} bytes for level {share.level} "
            f"cache {share.id} scope type '{share.type}'"
        )
    _, start = min(fitting)
    return ((1 << need) - 1) << start


def _bits_needed(control: CacheControl, share: CacheShare) -> int:
    size, granularity = _bytes(share), control.granularity(share.id)
    if size % granularity:
        raise unsupported(
            f"Cache allocation of size {size} is not divisible by granularity {granularity}"
        )
    if size // granularity < control.min_bits:
        raise unsupported(
            f"Cache allocation of size {size} is smaller than the minimum allowed allocation "
            f"{granularity * control.min_bits}"
        )
    return size // granularity


def _bytes(share: CacheShare) -> int:
    return share.size * UNITS[share.unit]


def runs(mask: int) -> list[tuple[int, int]]:
    """List the runs of set bits of a mask: the first bit of each and how many there are."""
    found, start = [], 0
    while mask >> start:
        if not mask >> start & 1:
            start += 1
            continue
        length = 0
        while mask >> (start + length) & 1:
            length += 1
        found.append((start, length))
        start += length
    return found


def unsupported(detail: str) -> VirError:
    """CONFIG_UNSUPPORTED of libvirt's resctrl code."""
    return VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.RESCTRL)
