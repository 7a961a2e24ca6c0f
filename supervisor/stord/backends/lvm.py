"""LVM command lines and reports. Pure.

Owns: argument lists and parsing of JSON reports. May not touch: devices.
Source: lvm(8), lvmreport(7); libvirt 9.0's behaviour for pools of type logical.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from conf.storage import Volume
from conf.storage.source import PoolDevice, PoolSource
from conf.types.size import KIB
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.stord.volume_info import Backing, Extent, PoolInfo, VolumeInfo

FORMAT: Final = "lvm2"
REPORT: Final = ("--reportformat", "json", "--units", "b", "--nosuffix")
LV_FIELDS: Final = (
    "lv_name,lv_uuid,lv_size,lv_attr,origin,seg_start,seg_size,devices,vg_extent_size"
)
ACTIVE_AT: Final = 4  # index of the state in lv_attr
ACTIVE: Final = "a"
HIDDEN: Final = "t"  # volume type in lv_attr: a thin pool, no volume itself

S = TypeVar("S", bound=msgspec.Struct)


class Group(msgspec.Struct, frozen=True):
    """A row of vgs."""

    vg_size: str
    vg_free: str


class Segment(msgspec.Struct, frozen=True):
    """A row of lvs --segments: one for each segment of a volume."""

    lv_name: str
    lv_uuid: str
    lv_size: str
    lv_attr: str
    vg_extent_size: str
    seg_size: str = "0"
    origin: str = ""
    devices: str = ""


class Physical(msgspec.Struct, frozen=True):
    """A row of pvs."""

    pv_name: str
    vg_name: str = ""


def plan_vgs(group: str) -> list[str]:
    """Report the space of a volume group."""
    return ["vgs", *REPORT, "-o", "vg_size,vg_free", "--", group]


def plan_lvs(group: str) -> list[str]:
    """Report the volumes of a group."""
    return ["lvs", *REPORT, "--segments", "-o", LV_FIELDS, "--", group]


def plan_pvs() -> list[str]:
    """Report every physical volume of the host."""
    return ["pvs", *REPORT, "-o", "pv_name,vg_name"]


def plan_activate(group: str, *, on: bool) -> list[str]:
    """Activate or deactivate a group's volumes, on this host only (-aly)."""
    return ["vgchange", "--quiet", "-aly" if on else "-aln", "--", group]


def plan_pvcreate(device: str) -> list[str]:
    """Make a device a physical volume; its data is lost."""
    return ["pvcreate", "--quiet", "-ff", "--yes", "--", device]


def plan_vgcreate(group: str, devices: Sequence[str]) -> list[str]:
    """Make a volume group of physical volumes."""
    return ["vgcreate", "--quiet", "--", group, *devices]


def plan_vgremove(group: str) -> list[str]:
    """Remove a volume group that has no volumes."""
    return ["vgremove", "--quiet", "--", group]


def plan_pvremove(device: str) -> list[str]:
    """Remove the physical volume's label from a device."""
    return ["pvremove", "--quiet", "--", device]


def plan_lvcreate(group: str, definition: Volume) -> list[str]:
    """Create a volume: linear, a snapshot of another, or sparse (a snapshot of zeros).

    Raises:
        VirError: CONFIG_UNSUPPORTED: LVM does not allow the name.
    """
    capacity = definition.capacity or 0
    allocation = capacity if definition.allocation is None else definition.allocation
    argv = ["lvcreate", "--quiet", "--yes", "--name", check_name(definition.name)]
    origin = definition.backing_store.path if definition.backing_store is not None else None
    if origin:
        return [*argv, "-L", f"{to_kib(max(allocation, 1))}k", "-s", "--", origin]
    if allocation < capacity:
        sparse = ["--type", "snapshot", "--virtualsize", f"{to_kib(capacity)}k"]
        return [*argv, "-L", f"{to_kib(max(allocation, 1))}k", *sparse, "--", group]
    return [*argv, "--wipesignatures", "y", "-L", f"{to_kib(capacity)}k", "--", group]


def needs_snapshot_target(definition: Volume) -> bool:
    """Return whether a volume needs device-mapper's snapshot target."""
    capacity = definition.capacity or 0
    sparse = definition.allocation is not None and definition.allocation < capacity
    return sparse or (definition.backing_store is not None and bool(definition.backing_store.path))


def plan_load_snapshot_target() -> list[str]:
    """Make the kernel load dm-snapshot by asking for its version.

    lvcreate would run modprobe, which needs CAP_SYS_MODULE; the kernel's own request_module does
    not.
    """
    return ["dmsetup", "target-version", "snapshot"]


def plan_lvremove(group: str, name: str) -> list[str]:
    """Remove a volume."""
    return ["lvremove", "--quiet", "--force", "--", f"{group}/{check_name(name)}"]


def plan_lvresize(group: str, name: str, capacity: int) -> list[str]:
    """Resize a volume."""
    return ["lvresize", "--quiet", "--force", "-L", f"{to_kib(capacity)}k", "--", f"{group}/{name}"]


def check_name(name: str) -> str:
    """Check a name against lvm(8) "valid names".

    Raises:
        VirError: CONFIG_UNSUPPORTED.
    """
    plain = name.replace("+", "").replace("_", "").replace(".", "").replace("-", "")
    if not plain.isascii() or not plain.isalnum() or name.startswith("-"):
        detail = f"'{name}' is no valid name of a logical volume: use letters, digits and + _ . -"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
    return name


def to_kib(size: int) -> int:
    """Convert bytes to KiB, rounded up."""
    return -(-size // KIB)


def read_group(text: str) -> PoolInfo:
    """Parse the space of a group from vgs' report.

    Raises:
        VirError: INTERNAL_ERROR: the report has no group.
    """
    groups = _report(text, "vg", Group)
    if not groups:
        raise unexpected_output("vgs")
    size, free = parse_bytes(groups[0].vg_size), parse_bytes(groups[0].vg_free)
    return PoolInfo(capacity=size, allocation=size - free, available=free, source_format=FORMAT)


def read_volumes(text: str, group: str) -> tuple[VolumeInfo, ...]:
    """Parse the active volumes from lvs' report, without thin pools."""
    by_name: dict[str, list[Segment]] = {}
    for segment in _report(text, "seg", Segment):
        attributes = segment.lv_attr
        if attributes[:1] != HIDDEN and attributes[ACTIVE_AT : ACTIVE_AT + 1] == ACTIVE:
            by_name.setdefault(segment.lv_name.strip("[]"), []).append(segment)
    return tuple(volume_info(name, segments, group) for name, segments in by_name.items())


def volume_info(name: str, segments: list[Segment], group: str) -> VolumeInfo:
    """Describe a volume by its segments."""
    first = segments[0]
    size = parse_bytes(first.lv_size)
    extents = [extent for segment in segments for extent in segment_extents(segment)]
    origin = f"/dev/{group}/{first.origin.strip('[]')}" if first.origin else ""
    return VolumeInfo(
        name=name,
        key=first.lv_uuid,
        path=f"/dev/{group}/{name}",
        type="block",
        capacity=size,
        allocation=size,
        physical=size,
        extents=tuple(extents),
        backing=Backing(path=origin, format=FORMAT) if origin else None,
    )


def segment_extents(segment: Segment) -> list[Extent]:
    """Parse a segment's devices: "/dev/sda1(12),/dev/sdb1(0)" is a stripe over two.

    The numbers are physical extents.
    """
    places = [place for place in segment.devices.split(",") if place.endswith(")")]
    step = parse_bytes(segment.vg_extent_size)
    length = parse_bytes(segment.seg_size) // max(len(places), 1)
    extents = []
    for place in places:
        device, _, start = place[:-1].rpartition("(")
        if device.startswith("/"):  # others are internal volumes of the group
            begin = parse_bytes(start) * step
            extents.append(Extent(device=device, start=begin, end=begin + length))
    return extents


def read_devices(text: str) -> list[PoolSource]:
    """Group the physical volumes of pvs' report by volume group."""
    groups: dict[str, list[str]] = {}
    for physical in _report(text, "pv", Physical):
        if physical.vg_name:
            groups.setdefault(physical.vg_name, []).append(physical.pv_name)
    return [
        PoolSource(
            devices=[PoolDevice(path=device) for device in devices], name=name, format=FORMAT
        )
        for name, devices in groups.items()
    ]


def parse_bytes(text: str) -> int:
    """Parse a size in bytes.

    Raises:
        VirError: INTERNAL_ERROR.
    """
    try:
        return int(text.strip())
    except ValueError:
        raise unexpected_output(text) from None


def _report(text: str, kind: str, struct: type[S]) -> list[S]:
    try:
        parts = msgspec.json.decode(text, type=dict[str, list[dict[str, list[dict[str, str]]]]])
        lines = [line for part in parts.get("report", []) for line in part.get(kind, [])]
        return msgspec.convert(lines, list[struct])  # type: ignore[valid-type]
    except msgspec.MsgspecError as error:
        raise unexpected_output(f"a report: {error}") from error


def unexpected_output(output: str) -> VirError:
    """INTERNAL_ERROR: LVM's output has an unexpected form."""
    detail = f"cannot parse LVM's output ({output})"
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
