"""<cpu>: the processor that a guest sees, its topology and NUMA cells.

Source: libvirt 9.0 formatdomain, "CPU model and topology".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import Refusal, attribute, child, children, element, text
from conf.types.bool import on_off, write_on_off, yes_no
from conf.types.cpuset import cpuset, parse_cpuset
from conf.types.enum import one_of
from conf.types.integer import int_signed, uint, uint_positive, unsigned
from conf.types.repeats import first_repeated
from conf.types.size import to_kib

VENDOR_SIZE: Final = 12  # bytes: of three registers


def cpuid_vendor(text: str) -> str:
    """Read the 12 characters by which CPUID names a vendor.

    Raises:
        ConfError: "xml".
    """
    if len(text.encode()) != VENDOR_SIZE:
        raise ConfError("xml", "vendor_id must be exactly 12 characters long")
    if "," in text:
        raise ConfError("xml", "vendor id is invalid")
    return text


@element("model")
@dataclass(slots=True, kw_only=True)
class CpuModelName:
    """<model>: a named model, and what to do where the host lacks it."""

    fallback: str | None = attribute(
        "@fallback",
        read=one_of("allow", "forbid", unknown="Invalid fallback attribute"),
        empty_is_absent=True,
    )
    vendor_id: str | None = attribute("@vendor_id", read=cpuid_vendor, empty_is_absent=True)
    name: str | None = text(".", omit="")


@element("topology")
@dataclass(slots=True, kw_only=True)
class CpuTopology:
    """<topology>: their product must be the most vcpus there can be."""

    sockets: int = attribute("@sockets", read=uint_positive, default=1, required=True)
    dies: int = attribute("@dies", read=uint_positive, default=1)
    cores: int = attribute("@cores", read=uint_positive, default=1, required=True)
    threads: int = attribute("@threads", read=uint_positive, default=1, required=True)


@element("cache")
@dataclass(slots=True, kw_only=True)
class CpuCache:
    """<cache>."""

    level: int | None = attribute("@level", read=int_signed)
    mode: str = attribute(
        "@mode", read=one_of("emulate", "passthrough", "disable"), default="", required=True
    )


@element("maxphysaddr")
@dataclass(slots=True, kw_only=True)
class MaxPhysAddr:
    """<maxphysaddr>: how wide physical addresses are."""

    mode: str = attribute("@mode", read=one_of("emulate", "passthrough"), default="", required=True)
    bits: int | None = attribute("@bits", read=uint)
    limit: int | None = attribute("@limit", read=uint)


@element("feature")
@dataclass(slots=True, kw_only=True)
class CpuFeature:
    """<feature>: one feature added or taken away."""

    policy: str | None = attribute(
        "@policy",
        read=one_of(
            "force",
            "require",
            "optional",
            "disable",
            "forbid",
            unknown="Invalid CPU feature policy",
        ),
    )
    name: str = attribute("@name", default="")


@element("sibling")
@dataclass(slots=True, kw_only=True)
class Sibling:
    """How far another cell is."""

    id: int = attribute("@id", read=uint, default=0)
    value: int = attribute("@value", read=unsigned, default=0)


@element("cache")
@dataclass(slots=True, kw_only=True)
class CellCache:
    """A memory-side cache of a cell."""

    level: int = attribute("@level", read=uint, default=0)
    associativity: str = attribute(
        "@associativity",
        read=one_of(
            "none", "direct", "full", unknown="Invalid cache associativity '{}'", kind="xml"
        ),
        default="none",
    )
    policy: str = attribute(
        "@policy",
        read=one_of(
            "none", "writeback", "writethrough", unknown="Invalid cache policy '{}'", kind="xml"
        ),
        default="none",
    )
    size: int | None = attribute("size/@value", read=unsigned, empty_is_absent=True)
    size_unit: str = attribute("size/@unit", default="KiB")
    line: int | None = attribute("line/@value", read=unsigned, empty_is_absent=True)
    line_unit: str = attribute("line/@unit", default="B")

    def after_read(self) -> None:
        """Check that the sizes are there; libvirt reads no units here, and writes its own.

        Raises:
            ConfError: "xml".
        """
        for name in ("size", "line"):
            if getattr(self, name) is None:
                detail = f"missing element or attribute './{name}/@value'"
                raise ConfError("xml", detail, f"cpu/numa/cell/cache/{name}/@value")
        self.size_unit, self.line_unit = "KiB", "B"


@element("cell")
@dataclass(slots=True, kw_only=True)
class NumaCell:
    """<cell>: some vcpus and their own memory."""

    id: int | None = attribute("@id", read=uint)
    cpus: str | None = attribute("@cpus", read=cpuset, omit="")
    memory: int = attribute(
        "@memory",
        read=unsigned,
        default=0,
        required=Refusal("xml", "missing element or attribute './@memory'"),
    )  # KiB once read
    unit: str = attribute("@unit", default="KiB")
    mem_access: str | None = attribute("@memAccess", read=one_of("shared", "private"))
    discard: bool | None = attribute("@discard", read=yes_no)
    distances: list[Sibling] = children("distances/sibling", Sibling)
    caches: list[CellCache] = children("cache", CellCache)

    def after_read(self) -> None:
        """Count memory in KiB.

        Raises:
            ConfError: "xml": two caches have one level.
        """
        levels = [cache.level for cache in self.caches]
        for level in levels:
            if levels.count(level) > 1:
                detail = f"Cache level '{level}' already defined"
                raise ConfError("xml", detail, "domain/cpu/numa/cell/cache/@level")
        self.memory, self.unit = to_kib(self.memory, self.unit), "KiB"


@element("latency")
@dataclass(slots=True, kw_only=True)
class Latency:
    """How long one cell's access to another takes."""

    initiator: int = attribute("@initiator", read=uint, default=0, required=True)
    target: int = attribute("@target", read=uint, default=0, required=True)
    cache: int | None = attribute("@cache", read=uint)
    type: str = attribute(
        "@type", read=one_of("access", "read", "write"), default="access", required=True
    )
    value: int = attribute("@value", read=unsigned, default=0, required=True)


@element("bandwidth")
@dataclass(slots=True, kw_only=True)
class Bandwidth:
    """How much one cell can take from another."""

    initiator: int = attribute("@initiator", read=uint, default=0, required=True)
    target: int = attribute("@target", read=uint, default=0, required=True)
    cache: int | None = attribute("@cache", read=uint)
    type: str = attribute(
        "@type", read=one_of("access", "read", "write"), default="access", required=True
    )
    value: int = attribute(
        "@value",
        read=unsigned,
        default=0,
        required=Refusal("xml", "missing element or attribute './@value'"),
    )  # KiB/s once read
    unit: str = attribute("@unit", default="KiB")

    def after_read(self) -> None:
        """Count in KiB."""
        self.value, self.unit = to_kib(self.value, self.unit), "KiB"


def _check_latencies(latencies: Sequence[Latency]) -> None:
    """Refuse two latencies of one path."""
    paths = [(each.initiator, each.target, each.cache or 0, each.type) for each in latencies]
    if first_repeated(paths) is not None:
        raise ConfError("xml", "Duplicate info for NUMA latencies", "interconnects/latency")


def _check_bandwidths(bandwidths: Sequence[Bandwidth]) -> None:
    """Refuse two bandwidths of one path."""
    paths = [(each.initiator, each.target, each.cache or 0, each.type) for each in bandwidths]
    if first_repeated(paths) is not None:
        raise ConfError("xml", "Duplicate info for NUMA bandwidths", "interconnects/bandwidth")


@element("interconnects", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Interconnects:
    """<interconnects>."""

    latencies: list[Latency] = children("latency", Latency, check=_check_latencies)
    bandwidths: list[Bandwidth] = children("bandwidth", Bandwidth, check=_check_bandwidths)


def check_cells(cells: Sequence[NumaCell]) -> None:
    """Refuse cells that are not numbered from 0 on, or share a vcpu.

    Source: libvirt 9.0 virDomainNumaDefParseXML.

    Raises:
        ConfError: "xml"; "config_unsupported": cells share a vcpu.
    """
    if not cells:
        raise ConfError("xml", "NUMA topology defined without NUMA cells", "domain/cpu/numa")
    seen: set[int] = set()
    owners: dict[int, int] = {}
    for number, cell in enumerate(cells):
        id_ = number if cell.id is None else cell.id
        if id_ >= len(cells):
            detail = (
                "Exactly one 'cell' element per guest NUMA cell allowed, non-contiguous ranges or "
                "ranges not starting from 0 are not allowed"
            )
            raise ConfError("xml", detail, "domain/cpu/numa/cell/@id")
        if id_ in seen:
            detail = f"Duplicate NUMA cell info for cell id '{id_}'"
            raise ConfError("xml", detail, "domain/cpu/numa/cell/@id")
        seen.add(id_)
        for vcpu in parse_cpuset(cell.cpus) if cell.cpus else ():
            if vcpu in owners:
                detail = f"NUMA cells {id_} and {owners[vcpu]} have overlapping vCPU ids"
                raise ConfError("config_unsupported", detail, "domain/cpu/numa/cell/@cpus")
            owners[vcpu] = id_


@element("numa")
@dataclass(slots=True, kw_only=True)
class Numa:
    """<numa>."""

    cells: list[NumaCell] = children("cell", NumaCell, check=check_cells)
    interconnects: Interconnects | None = child("interconnects", Interconnects)

    def after_read(self) -> None:
        """Check that paths between cells lead to cells, and to caches that they have.

        Raises:
            ConfError: "xml".
        """
        links: list[Latency | Bandwidth] = []
        if self.interconnects is not None:
            links = [*self.interconnects.latencies, *self.interconnects.bandwidths]
        for link in links:
            for end in ("initiator", "target"):
                if getattr(link, end) >= len(self.cells):
                    detail = f"'{end}' refers to a non-existent NUMA node"
                    raise ConfError("xml", detail, f"interconnects/@{end}")
            levels = [cache.level for cache in self.cells[link.target].caches]
            if link.cache and link.cache not in levels:
                detail = "'cache' refers to a non-existent NUMA node cache"
                raise ConfError("xml", detail, "interconnects/@cache")


MODES = one_of(
    "custom", "host-model", "host-passthrough", "maximum", unknown="Invalid mode attribute '{}'"
)


@element("cpu")
@dataclass(slots=True, kw_only=True)
class Cpu:
    """<cpu>."""

    mode: str | None = attribute("@mode", read=MODES)
    match: str | None = attribute("@match", read=one_of("minimum", "exact", "strict"))
    check: str | None = attribute("@check", read=one_of("none", "partial", "full"))
    migratable: bool | None = attribute("@migratable", read=on_off, write=write_on_off)
    model: CpuModelName | None = child("model", CpuModelName)
    vendor: str | None = text("vendor")
    topology: CpuTopology | None = child("topology", CpuTopology)
    cache: CpuCache | None = child(
        "cache", CpuCache, single="at most one CPU cache element may be specified"
    )
    maxphysaddr: MaxPhysAddr | None = child("maxphysaddr", MaxPhysAddr)
    features: list[CpuFeature] = children("feature", CpuFeature)
    numa: Numa | None = child("numa", Numa)

    def after_read(self) -> None:
        """Check vendor and features.

        Raises:
            ConfError: "xml".
        """
        model = self.model.name if self.model is not None else None
        if self.vendor and not model:
            detail = "CPU vendor specified without CPU model"
            raise ConfError("xml", detail, "domain/cpu/vendor")
        seen: set[str] = set()
        for feature in self.features:
            if not feature.name:
                raise ConfError("xml", "Invalid CPU feature name", "domain/cpu/feature")
            if feature.name in seen:
                detail = f"CPU feature '{feature.name}' specified more than once"
                raise ConfError("xml", detail, "domain/cpu/feature")
            seen.add(feature.name)
        named = self.mode not in (None, "custom") or model
        if self.features and not named:
            detail = "Non-empty feature list specified without CPU model"
            raise ConfError("xml", detail, "domain/cpu/feature")
