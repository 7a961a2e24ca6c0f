"""<volume>: a storage volume.

Owns: the model, its parser and formatter. May not touch: files, the host.
Source: libvirt 9.0 formatstorage, "Storage volume XML"; the refusals are those of the corpus.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.mapper import (
    Mode,
    attribute,
    child,
    children,
    element,
    flag,
    parse,
    text,
    verbatim,
    write,
)
from conf.storage.attributes import read_amount
from conf.storage.credentials import VolumeEncryption
from conf.storage.formats import TRAITS, PoolType, VolumeType
from conf.storage.permissions import Permissions
from conf.types.integer import unsigned

FEATURES: Final = ("lazy_refcounts", "extended_l2")
#: Mode of a new volume without <mode> (VIR_STORAGE_DEFAULT_VOL_PERM_MODE).
DEFAULT_MODE: Final = 0o600
_COMPAT: Final = re.compile(r"[0-9]+\.[0-9]+")


@element("size")
@dataclass(slots=True, kw_only=True)
class Size:
    """A size: its text is a number of `unit`s, converted to bytes by `count`."""

    unit: str = attribute("@unit", default="")
    digits: str = text(".", default="")
    bytes: int = field(default=0, compare=False)

    @staticmethod
    def from_bytes(number: int, unit: str = "bytes") -> Size:
        """Make a size of bytes."""
        return Size(unit=unit, digits=str(number), bytes=number)

    def count(self, element: str, unit: str = "bytes") -> None:
        """Convert to bytes; `element` is the name in the error.

        Raises:
            ConfError: not a size.
        """
        self.bytes = read_amount(self.digits, self.unit, element)
        self.digits, self.unit = str(self.bytes), unit


def _present(size: Size | None) -> Size | None:
    """Return None for an element without text: libvirt treats it as absent."""
    return size if size is not None and size.digits else None


@element("extent")
@dataclass(slots=True, kw_only=True)
class Extent:
    """<extent>: a byte range of a device."""

    start: int = attribute("@start", read=unsigned, default=0)
    end: int = attribute("@end", read=unsigned, default=0)


@element("device")
@dataclass(slots=True, kw_only=True)
class ExtentDevice:
    """<device> of a volume's <source>."""

    path: str = attribute("@path", default="")
    extents: list[Extent] = children("extent", Extent)


def _refuse_unknown(features: etree._Element) -> None:
    """Refuse unknown features."""
    for feature in features:
        if isinstance(feature.tag, str) and feature.tag not in FEATURES:
            detail = f"unsupported feature {feature.tag}; there are {', '.join(FEATURES)}"
            raise ConfError("config_unsupported", detail, f"target/features/{feature.tag}")


@element("target")
@dataclass(slots=True, kw_only=True)
class VolumeTarget:
    """<target>: the file or device, and its format."""

    path: str | None = text("path", omit="")
    format: str | None = attribute("format/@type", empty_is_absent=True)
    permissions: Permissions | None = child("permissions", Permissions)
    atime: str | None = text("timestamps/atime")  # seconds since the epoch: 1341933637.273190990
    mtime: str | None = text("timestamps/mtime")
    ctime: str | None = text("timestamps/ctime")
    btime: str | None = text("timestamps/btime")
    encryption: VolumeEncryption | None = child("encryption", VolumeEncryption)
    compat: str | None = text("compat", omit="")
    cluster_size_element: Size | None = child("clusterSize", Size)
    nocow: bool = flag("nocow")
    lazy_refcounts: bool = flag("features/lazy_refcounts")
    extended_l2: bool = flag("features/extended_l2")
    unknown_features: str | None = verbatim("features", prune=_refuse_unknown)  # none: refused

    def after_read(self) -> None:
        """Check compat level and features."""
        if self.compat is None and self.unknown_features is not None:
            self.compat = "1.1"  # <features>, even an empty one, needs version 3 of qcow2
        self.unknown_features = None
        if self.compat and not _COMPAT.fullmatch(self.compat):
            detail = f"forbidden characters in 'compat' attribute: '{self.compat}'; write 0.10, 1.1"
            raise ConfError("xml", detail, "target/compat")
        self.cluster_size_element = _present(self.cluster_size_element)
        if self.cluster_size_element is not None:
            self.cluster_size_element.count("clusterSize", "B")

    @property
    def cluster_size(self) -> int | None:
        """Return the cluster size in bytes; None without <clusterSize>."""
        return self.cluster_size_element.bytes if self.cluster_size_element else None

    @cluster_size.setter
    def cluster_size(self, size: int | None) -> None:
        self.cluster_size_element = Size.from_bytes(size, "B") if size is not None else None


@element("backingStore")
@dataclass(slots=True, kw_only=True)
class BackingStore:
    """<backingStore>: the backing file."""

    path: str = text("path", default="")
    format: str | None = attribute("format/@type", empty_is_absent=True)
    permissions: Permissions | None = child("permissions", Permissions)


@element("volume")
@dataclass(slots=True, kw_only=True)
class Volume:
    """<volume>. Sizes in bytes; None if absent."""

    type: VolumeType | None = attribute(
        "@type", read=VolumeType, bad="config_unsupported", empty_is_absent=True
    )
    name: str = text("name", default="")
    key: str | None = text("key", omit="")
    source: list[ExtentDevice] = children("source/device", ExtentDevice)
    capacity_element: Size | None = child("capacity", Size)
    allocation_element: Size | None = child("allocation", Size)
    physical_element: Size | None = child("physical", Size)
    target_element: VolumeTarget | None = child("target", VolumeTarget, merge=True)
    backing_store: BackingStore | None = child("backingStore", BackingStore, merge=True)

    def __post_init__(self) -> None:
        """Add the <target> that every volume has."""
        if self.target_element is None:
            self.target_element = VolumeTarget()

    def after_read(self) -> None:
        """Convert sizes to bytes; an empty size or <backingStore> is absent."""
        self.capacity_element = _present(self.capacity_element)
        self.allocation_element = _present(self.allocation_element)
        self.physical_element = _present(self.physical_element)
        for element_name, size in (
            ("capacity", self.capacity_element),
            ("capacity", self.allocation_element),
            ("physical", self.physical_element),
        ):
            if size is not None:
                size.count(element_name)
        self.source = []  # extents are read from the device, never from XML
        if self.backing_store is not None and not self.backing_store.path:
            self.backing_store = None

    @property
    def target(self) -> VolumeTarget:
        """Return <target>."""
        assert self.target_element is not None
        return self.target_element

    @property
    def capacity(self) -> int | None:
        """Return the virtual size in bytes."""
        return self.capacity_element.bytes if self.capacity_element else None

    @capacity.setter
    def capacity(self, size: int | None) -> None:
        self.capacity_element = Size.from_bytes(size) if size is not None else None

    @property
    def allocation(self) -> int | None:
        """Return the allocated bytes."""
        return self.allocation_element.bytes if self.allocation_element else None

    @allocation.setter
    def allocation(self, size: int | None) -> None:
        self.allocation_element = Size.from_bytes(size) if size is not None else None

    @property
    def physical(self) -> int | None:
        """Return the physical size in bytes; libvirt omits 0."""
        return self.physical_element.bytes if self.physical_element else None

    @physical.setter
    def physical(self, size: int | None) -> None:
        self.physical_element = Size.from_bytes(size) if size else None


def parse_volume(
    xml: bytes | str, pool_type: PoolType, *, capacity_from_elsewhere: bool = False
) -> Volume:
    """Parse and validate a volume's XML.

    A missing format is the pool type's default; a missing <allocation> stays None.

    Args:
        xml: the XML.
        pool_type: formats depend on it.
        capacity_from_elsewhere: of a clone, whose capacity may be absent; that of an overlay may be
            absent, too.

    Raises:
        ConfError: with libvirt's code as its kind.
    """
    volume = parse(Volume, xml)
    if not volume.name:
        raise ConfError("xml", "missing volume name element", "volume/name")
    if volume.capacity is None and not capacity_from_elsewhere and volume.backing_store is None:
        raise ConfError("xml", "missing capacity element", "volume/capacity")
    formats = TRAITS[pool_type].volume_formats
    names = formats.names[1:] if formats else ()  # the first, "none" or "raw", is for no format
    usual = formats.default if formats else None
    volume.target.format = _check_format(volume.target.format, names, usual)
    backing = volume.backing_store
    if backing is not None:
        backing.format = _check_format(backing.format, names, "raw" if formats else None)
    return volume


def _check_format(named: str | None, names: tuple[str, ...], usual: str | None) -> str | None:
    if usual is None or named is None:
        return usual
    if named not in names and named != usual:
        choices = ", ".join(names)
        detail = f"unknown volume format type {named}; there are {choices or usual}"
        raise ConfError("config_unsupported", detail, "target/format/@type")
    return named


def format_volume(volume: Volume) -> str:
    """Format a volume's XML."""
    return write(volume, Mode())
