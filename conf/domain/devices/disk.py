"""<disk>: a drive, what is in it, and how the guest sees it.

Source: libvirt 9.0 formatdomain, "Hard drives, floppy disks, CDROMs".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.backing_store import (
    FORMATS,
    TYPES,
    BackingFormat,
    BackingStore,
    CacheSize,
)
from conf.domain.devices.source import Auth, Encryption, Source
from conf.mapper import attribute, child, element, flag, text
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import uint, uint_positive, unsigned

BUSES = one_of("ide", "fdc", "scsi", "virtio", "xen", "usb", "uml", "sata", "sd")
DEVICES = one_of("disk", "lun", "cdrom", "floppy")
SNAPSHOTS = one_of("no", "internal", "external", "manual")
CACHES = one_of("default", "none", "writethrough", "writeback", "directsync", "unsafe")


@element("driver")
@dataclass(slots=True, kw_only=True)
class DiskDriver:
    """<driver>: the format of what is in the drive, and how it is read and written."""

    name: str | None = attribute("@name")
    type: str | None = attribute("@type", read=FORMATS)
    cache: str | None = attribute("@cache", read=CACHES, omit="default")
    error_policy: str | None = attribute(
        "@error_policy", read=one_of("report", "ignore", "enospace", "stop")
    )
    rerror_policy: str | None = attribute("@rerror_policy", read=one_of("report", "ignore", "stop"))
    io: str | None = attribute("@io", read=one_of("native", "threads", "io_uring"))
    ioeventfd: bool | None = attribute("@ioeventfd", read=on_off, write=write_on_off)
    event_idx: bool | None = attribute("@event_idx", read=on_off, write=write_on_off)
    copy_on_read: bool | None = attribute("@copy_on_read", read=on_off, write=write_on_off)
    discard: str | None = attribute("@discard", read=one_of("unmap", "ignore"))
    iothread: int | None = attribute("@iothread", read=uint_positive)
    detect_zeroes: str | None = attribute("@detect_zeroes", read=one_of("off", "on", "unmap"))
    discard_no_unref: bool | None = attribute("@discard_no_unref", read=on_off, write=write_on_off)
    queues: int | None = attribute("@queues", read=uint, omit=0)
    queue_size: int | None = attribute("@queue_size", read=uint, omit=0)
    iommu: bool | None = attribute("@iommu", read=on_off, write=write_on_off)
    ats: bool | None = attribute("@ats", read=on_off, write=write_on_off)
    packed: bool | None = attribute("@packed", read=on_off, write=write_on_off)
    page_per_vq: bool | None = attribute("@page_per_vq", read=on_off, write=write_on_off)
    metadata_cache: CacheSize | None = child(
        "metadata_cache/max_size", CacheSize, merge=True, empty_is_absent=True
    )


@element("target")
@dataclass(slots=True, kw_only=True)
class DiskTarget:
    """<target>: the drive's name and its bus."""

    dev: str = attribute("@dev", default="")
    bus: str = attribute("@bus", read=BUSES, default="", omit="")
    tray: str | None = attribute("@tray", read=one_of("open", "closed"), omit="closed")
    removable: bool | None = attribute("@removable", read=on_off, write=write_on_off)
    rotation_rate: int | None = attribute("@rotation_rate", read=uint)


@element("format")
@dataclass(slots=True, kw_only=True)
class MirrorFormat(BackingFormat):
    """<format> of a copy: libvirt does not look at that of a definition."""

    type: str = attribute("@type", default="")


@element("mirror")
@dataclass(slots=True, kw_only=True)
class Mirror:
    """<mirror>: where a block job copies the disk to; only a running guest has one."""

    type: str = attribute("@type", default="file")
    file: str | None = attribute("@file")  # of a copy to a file, for older clients, as format=
    old_format: str | None = attribute("@format")
    job: str | None = attribute("@job")
    ready: str | None = attribute("@ready")
    format: BackingFormat | None = child("format", MirrorFormat)
    source: Source | None = child("source", Source)
    backing_store: BackingStore | None = child("backingStore", BackingStore)

    def after_read(self) -> None:
        """Copy the type to the source."""
        if self.source is not None:
            self.source.keep_type(self.type)


@element("geometry")
@dataclass(slots=True, kw_only=True)
class Geometry:
    """<geometry>."""

    cyls: int = attribute("@cyls", read=uint, default=0)
    heads: int = attribute("@heads", read=uint, default=0)
    secs: int = attribute("@secs", read=uint, default=0)
    trans: str | None = attribute("@trans", read=one_of("auto", "none", "lba"))


@element("blockio", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Blockio:
    """<blockio>: sizes of blocks."""

    logical_block_size: int | None = attribute("@logical_block_size", read=uint, omit=0)
    physical_block_size: int | None = attribute("@physical_block_size", read=uint, omit=0)
    discard_granularity: int | None = attribute("@discard_granularity", read=uint)


@element("iotune", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Iotune:
    """<iotune>: limits of a drive."""

    total_bytes_sec: int | None = text("total_bytes_sec", read=unsigned, omit=0)
    read_bytes_sec: int | None = text("read_bytes_sec", read=unsigned, omit=0)
    write_bytes_sec: int | None = text("write_bytes_sec", read=unsigned, omit=0)
    total_iops_sec: int | None = text("total_iops_sec", read=unsigned, omit=0)
    read_iops_sec: int | None = text("read_iops_sec", read=unsigned, omit=0)
    write_iops_sec: int | None = text("write_iops_sec", read=unsigned, omit=0)
    total_bytes_sec_max: int | None = text("total_bytes_sec_max", read=unsigned, omit=0)
    read_bytes_sec_max: int | None = text("read_bytes_sec_max", read=unsigned, omit=0)
    write_bytes_sec_max: int | None = text("write_bytes_sec_max", read=unsigned, omit=0)
    total_iops_sec_max: int | None = text("total_iops_sec_max", read=unsigned, omit=0)
    read_iops_sec_max: int | None = text("read_iops_sec_max", read=unsigned, omit=0)
    write_iops_sec_max: int | None = text("write_iops_sec_max", read=unsigned, omit=0)
    size_iops_sec: int | None = text("size_iops_sec", read=unsigned, omit=0)
    group_name: str | None = text("group_name")
    total_bytes_sec_max_length: int | None = text(
        "total_bytes_sec_max_length", read=unsigned, omit=0
    )
    read_bytes_sec_max_length: int | None = text("read_bytes_sec_max_length", read=unsigned, omit=0)
    write_bytes_sec_max_length: int | None = text(
        "write_bytes_sec_max_length", read=unsigned, omit=0
    )
    total_iops_sec_max_length: int | None = text("total_iops_sec_max_length", read=unsigned, omit=0)
    read_iops_sec_max_length: int | None = text("read_iops_sec_max_length", read=unsigned, omit=0)
    write_iops_sec_max_length: int | None = text("write_iops_sec_max_length", read=unsigned, omit=0)


@element("disk")
@dataclass(slots=True, kw_only=True)
class Disk:
    """<disk>."""

    type: str = attribute("@type", read=TYPES, default="file")
    device: str = attribute(
        "@device", read=one_of("disk", "lun", "cdrom", "floppy"), default="disk"
    )
    model: str | None = attribute(
        "@model", read=one_of("virtio", "virtio-transitional", "virtio-non-transitional")
    )
    rawio: str | None = attribute("@rawio")
    sgio: str | None = attribute("@sgio", read=one_of("filtered", "unfiltered"))
    snapshot: str | None = attribute(
        "@snapshot", read=one_of("no", "internal", "external", "manual")
    )
    driver: DiskDriver | None = child("driver", DiskDriver)
    auth: Auth | None = child("auth", Auth)
    source: Source | None = child("source", Source)
    backing_store: BackingStore | None = child("backingStore", BackingStore)
    backend_domain: str | None = attribute("backenddomain/@name")
    geometry: Geometry | None = child("geometry", Geometry)
    blockio: Blockio | None = child("blockio", Blockio)
    mirror: Mirror | None = child("mirror", Mirror, only="live")
    target: DiskTarget = child("target", DiskTarget)
    iotune: Iotune | None = child("iotune", Iotune, merge=True)
    readonly: bool = flag("readonly")
    shareable: bool = flag("shareable")
    transient: bool = flag("transient")
    serial: str | None = text("serial")
    wwn: str | None = text("wwn")
    vendor: str | None = text("vendor")
    product: str | None = text("product")
    boot_order: int | None = attribute("boot/@order", read=uint_positive, required=True)
    encryption: Encryption | None = child("encryption", Encryption)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)

    def after_read(self) -> None:
        """Copy each type= to its source."""
        self.target = self.target or DiskTarget()
        if self.source in (Source(file=""), Source(dev="")):
            self.source = None  # an empty name is that of an empty drive
        elif self.source is not None:
            self.source.keep_type(self.type)
        elif self.type == "block" or (self.device in ("cdrom", "floppy") and self.type != "dir"):
            self.type = "file"
        if self.geometry == Geometry():
            self.geometry = None
        if self.type == "vhostuser":
            self.snapshot = self.snapshot or "no"  # QEMU does not have its image

    @property
    def target_missing(self) -> bool:
        """Whether nothing names the drive; libvirt refuses that late, as it does an empty name."""
        return not self.target.dev

    def chain(self) -> list[tuple[Source, str, int | None]]:
        """List the backing chain from the top: source, format, bytes of metadata cache."""
        if self.source is None or is_empty(self.source):
            return []
        cache = (
            self.driver.metadata_cache.amount
            if self.driver and self.driver.metadata_cache
            else None
        )
        format_ = (self.driver.type if self.driver else None) or "raw"
        images = [(self._whole_source(self.source), format_, cache)]
        store = self.backing_store
        while store is not None and store.type is not None and store.source is not None:
            layer = store.format or BackingFormat()
            size = layer.metadata_cache.amount if layer.metadata_cache else None
            images.append((store.source, layer.type, size))
            store = store.backing_store
        return images

    def _whole_source(self, source: Source) -> Source:
        """Merge into the top <source> what older XML has beside it."""
        if self.auth is None and self.encryption is None:
            return source
        return replace(
            source,
            auth=source.auth or self.auth,
            encryption=source.encryption or self.encryption,
        )

    def chain_ends(self) -> bool:
        """Return whether the XML ends the backing chain here (<backingStore/>)."""
        store = self.backing_store
        while store is not None:
            if store.type is None:
                return True
            store = store.backing_store
        return False


def is_empty(source: Source) -> bool:
    """Return whether a source names nothing: an empty drive."""
    named = (source.file, source.dev, source.dir, source.protocol, source.pool, source.path)
    return not any((*named, source.source_type))
