"""<cachetune> and <memorytune>: shares of the host's caches and of its memory's bandwidth.

Source: libvirt 9.0 formatdomain, "CPU Tuning".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.mapper import attribute, children, element
from conf.types.cpuset import cpuset
from conf.types.enum import one_of
from conf.types.integer import uint, unsigned
from conf.types.size import to_bytes

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@element("cache")
@dataclass(slots=True, kw_only=True)
class CacheShare:
    """<cache>: a part of one cache; its size is in the largest unit that is exact once read."""

    id: int = attribute("@id", read=uint, required=True, default=0)
    level: int = attribute("@level", read=uint, required=True, default=0)
    type: str = attribute(
        "@type", read=one_of("both", "code", "data"), required=True, default="both"
    )
    size: int = attribute("@size", read=unsigned, required=True, default=0)
    unit: str = attribute("@unit", default="B")

    def after_read(self) -> None:
        """Choose the unit."""
        self.size, self.unit = to_bytes(self.size, self.unit), "B"
        for unit in _UNITS[1:]:
            if self.size == 0 or self.size % 1024:
                return
            self.size, self.unit = self.size // 1024, unit


@element("monitor")
@dataclass(slots=True, kw_only=True)
class CacheMonitor:
    """<monitor>: vcpus whose use of a cache is watched."""

    level: int | None = attribute("@level", read=uint)
    vcpus: str = attribute("@vcpus", read=cpuset, required=True, default="")


@element("cachetune")
@dataclass(slots=True, kw_only=True)
class CacheTune:
    """<cachetune>: the caches' parts for some vcpus."""

    vcpus: str = attribute("@vcpus", read=cpuset, required=True, default="")
    caches: list[CacheShare] = children("cache", CacheShare)
    monitors: list[CacheMonitor] = children("monitor", CacheMonitor)


@element("node")
@dataclass(slots=True, kw_only=True)
class MemoryShare:
    """<node>: a share of one memory controller's bandwidth, in per cent."""

    id: int = attribute("@id", read=uint, required=True, default=0)
    bandwidth: int = attribute("@bandwidth", read=uint, required=True, default=100)


@element("memorytune")
@dataclass(slots=True, kw_only=True)
class MemoryTune:
    """<memorytune>: the bandwidth of some vcpus."""

    vcpus: str = attribute("@vcpus", read=cpuset, required=True, default="")
    nodes: list[MemoryShare] = children("node", MemoryShare)
    monitors: list[CacheMonitor] = children("monitor", CacheMonitor)
