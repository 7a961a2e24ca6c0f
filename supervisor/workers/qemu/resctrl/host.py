"""The host's resctrl file system: what can be allocated, and which groups have what.

Owns: reading it. May touch: /sys/fs/resctrl, the sizes of caches in /sys/devices, to read.
Source: Linux, Documentation/arch/x86/resctrl.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

RESCTRL: Final = Path("/sys/fs/resctrl")
CPUS: Final = Path("/sys/devices/system/cpu")
CACHE: Final = re.compile(r"L([0-9]+)(CODE|DATA)?")
BANDWIDTH: Final = "MB"
SCHEMATA: Final = "schemata"
OTHERS: Final = frozenset({"info", "mon_groups", "mon_data"})  # directories that are no groups
UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

#: The text of a group's allocation of each cache or memory controller, by resource: L3, L3CODE, MB.
Allocation = dict[str, dict[int, str]]


@dataclass(frozen=True, slots=True)
class CacheControl:
    """How caches of one level are divided: by masks of bits that each stand for a part."""

    bits: int
    min_bits: int  # of an allocation
    sizes: dict[int, int]  # bytes of each cache, by id

    def granularity(self, cache: int) -> int:
        """Return the bytes of one bit."""
        return self.sizes.get(cache, 0) // self.bits


@dataclass(frozen=True, slots=True)
class BandwidthControl:
    """How the bandwidth of memory controllers is limited, in per cent."""

    granularity: int
    minimum: int


@dataclass(frozen=True, slots=True)
class HostResctrl:
    """What the host has of resctrl; empty where it is not mounted."""

    caches: dict[str, CacheControl] = field(default_factory=dict)  # by resource
    bandwidth: BandwidthControl | None = None
    default: Allocation = field(default_factory=dict)  # of all processes in no group
    groups: tuple[Allocation, ...] = ()

    @property
    def is_supported(self) -> bool:
        """Whether anything can be allocated."""
        return bool(self.caches) or self.bandwidth is not None


def read_host(root: Path = RESCTRL, cpus: Path = CPUS) -> HostResctrl:
    """Read what can be allocated and what is.

    Raises:
        VirError: INTERNAL_ERROR: a group's file cannot be read.
    """
    info = root / "info"
    if not info.is_dir():
        return HostResctrl()
    sizes = read_sizes(cpus)
    caches = {
        folder.name: CacheControl(
            bits=int((folder / "cbm_mask").read_text(), 16).bit_count(),
            min_bits=int((folder / "min_cbm_bits").read_text()),
            sizes=sizes.get(int(matched[1]), {}),
        )
        for folder in sorted(info.iterdir())
        if (matched := CACHE.fullmatch(folder.name)) is not None
    }
    bandwidth = None
    if (info / BANDWIDTH).is_dir():
        bandwidth = BandwidthControl(
            granularity=int((info / BANDWIDTH / "bandwidth_gran").read_text()),
            minimum=int((info / BANDWIDTH / "min_bandwidth").read_text()),
        )
    return HostResctrl(caches, bandwidth, read_allocation(root), tuple(_groups(root)))


def _groups(root: Path) -> Iterator[Allocation]:
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and folder.name not in OTHERS and (folder / SCHEMATA).exists():
            yield read_allocation(folder)


def read_allocation(group: Path) -> Allocation:
    """Read a group's schemata.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be read.
    """
    try:
        return parse_schemata((group / SCHEMATA).read_text())
    except (OSError, ValueError) as error:
        detail = f"Could not read schemata file for group {group.name}: {error}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.RESCTRL) from error


def parse_schemata(text: str) -> Allocation:
    """Parse lines such as "L3:0=fff;1=ff". Pure.

    Raises:
        ValueError: there is something else.
    """
    allocation: Allocation = {}
    for line in text.splitlines():
        resource, _, values = line.strip().partition(":")
        pairs = [value.partition("=") for value in values.split(";") if value]
        allocation[resource] = {int(cache): value.strip() for cache, _, value in pairs}
    return allocation


def read_sizes(cpus: Path) -> dict[int, dict[int, int]]:
    """Read the sizes of the host's caches in bytes, by level and id."""
    sizes: dict[int, dict[int, int]] = {}
    for folder in cpus.glob("cpu[0-9]*/cache/index[0-9]*"):
        try:
            level, cache = (int((folder / name).read_text()) for name in ("level", "id"))
            sizes.setdefault(level, {})[cache] = parse_size((folder / "size").read_text().strip())
        except (OSError, ValueError):
            continue  # a CPU that is offline; an old kernel has no ids
    return sizes


def parse_size(text: str) -> int:
    """Parse the size of a cache: 32768K. Pure."""
    return int(text.rstrip("KMG")) * UNITS.get(text[-1:], 1)
