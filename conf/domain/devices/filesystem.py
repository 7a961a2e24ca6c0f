"""<filesystem>: a folder of the host that a guest sees.

Source: libvirt 9.0 formatdomain, "Filesystems".
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.errors import ConfError
from conf.mapper import attribute, child, element, flag, text
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import c_unsigned, int_unsigned, uint_positive, unsigned
from conf.types.size import KIB, to_bytes

#: The mode that stands for none.
NO_MODE: Final = "0000"


def create_mode(text: str) -> str:
    """Read the mode of files that a guest creates: octal, written with four digits."""
    return f"{c_unsigned(text, 8):04o}"


#: The attributes of <source> that each type has.
SOURCE_OF_TYPE: Final = {
    "mount": ("dir", "socket"),
    "bind": ("dir",),
    "file": ("file",),
    "block": ("dev",),
    "template": ("name",),
    "ram": ("usage", "units"),
    "volume": ("pool", "volume"),
}

#: The one of them that names the files.
PATH_OF_TYPE: Final = {
    "mount": "dir",
    "bind": "dir",
    "file": "file",
    "block": "dev",
    "template": "name",
    "volume": "volume",
}


def memory_usage(text: str) -> int:
    """Read the size of a tmpfs.

    Raises:
        ConfError: "xml": it is no number.
    """
    try:
        return unsigned(text)
    except ValueError:
        detail = f"cannot parse usage '{text}' for RAM filesystem"
        raise ConfError("xml", detail, "filesystem/source/@usage") from None


@element("driver", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class FilesystemDriver:
    """<driver>."""

    type: str | None = attribute(
        "@type", read=one_of("path", "handle", "loop", "nbd", "ploop", "virtiofs")
    )
    format: str | None = attribute("@format")
    wrpolicy: str | None = attribute("@wrpolicy", read=one_of("immediate"))
    queue: int | None = attribute("@queue", read=unsigned, omit=0, empty_is_absent=True)
    iommu: bool | None = attribute("@iommu", read=on_off, write=write_on_off)
    ats: bool | None = attribute("@ats", read=on_off, write=write_on_off)
    packed: bool | None = attribute("@packed", read=on_off, write=write_on_off)
    page_per_vq: bool | None = attribute("@page_per_vq", read=on_off, write=write_on_off)


@element("binary", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class FilesystemBinary:
    """<binary>: virtiofsd's own settings."""

    path: str | None = attribute("@path", empty_is_absent=True)
    xattr: bool | None = attribute("@xattr", read=on_off, write=write_on_off)
    cache: str | None = attribute("cache/@mode", read=one_of("none", "always"))
    sandbox: str | None = attribute("sandbox/@mode", read=one_of("namespace", "chroot"))
    lock_posix: bool | None = attribute("lock/@posix", read=on_off, write=write_on_off)
    lock_flock: bool | None = attribute("lock/@flock", read=on_off, write=write_on_off)
    thread_pool: int | None = attribute(
        "thread_pool/@size", read=int_unsigned, empty_is_absent=True
    )


@element("space_hard_limit")
@dataclass(slots=True, kw_only=True)
class SpaceLimit:
    """<space_hard_limit>, <space_soft_limit>: bytes once it has been read."""

    unit: str = attribute("@unit", default="bytes")
    amount: int = text(".", read=unsigned, default=0)

    def after_read(self) -> None:
        """Count in bytes."""
        self.amount, self.unit = to_bytes(self.amount, self.unit), "bytes"


@element("source")
@dataclass(slots=True, kw_only=True)
class FilesystemSource:
    """<source>; which attributes count depends on the file system's type."""

    dir: str | None = attribute("@dir")
    socket: str | None = attribute("@socket")
    file: str | None = attribute("@file")
    dev: str | None = attribute("@dev")
    name: str | None = attribute("@name")
    pool: str | None = attribute("@pool")
    volume: str | None = attribute("@volume")
    usage: str | None = attribute("@usage")
    units: str | None = attribute("@units")

    def keep(self, names: tuple[str, ...]) -> None:
        """Drop the attributes of other types; count a tmpfs's size in KiB."""
        for field in fields(self):
            if field.name not in names:
                setattr(self, field.name, None)
        if self.usage is not None:
            size = to_bytes(memory_usage(self.usage), self.units or "KiB")
            # Rounded down as by libvirt, but never to 0, which is no limit to tmpfs.
            self.usage, self.units = str(max(size // KIB, min(size, 1))), "KiB"


@element("filesystem")
@dataclass(slots=True, kw_only=True)
class Filesystem:
    """<filesystem>."""

    type: str = attribute(
        "@type",
        read=one_of("mount", "block", "file", "template", "ram", "bind", "volume"),
        default="mount",
    )
    accessmode: str | None = attribute(
        "@accessmode", read=one_of("passthrough", "mapped", "squash"), empty_is_absent=True
    )
    fmode: str | None = attribute("@fmode", read=create_mode, omit=NO_MODE)
    dmode: str | None = attribute("@dmode", read=create_mode, omit=NO_MODE)
    model: str | None = attribute(
        "@model", read=one_of("virtio", "virtio-transitional", "virtio-non-transitional")
    )
    multidevs: str | None = attribute(
        "@multidevs", read=one_of("default", "remap", "forbid", "warn"), omit="default"
    )
    driver: FilesystemDriver | None = child("driver", FilesystemDriver)
    binary: FilesystemBinary | None = child("binary", FilesystemBinary, merge=True)
    source: FilesystemSource | None = child("source", FilesystemSource)
    target_dir: str | None = attribute("target/@dir")
    readonly: bool = flag("readonly")
    boot_order: int | None = attribute("boot/@order", read=uint_positive, required=True)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    space_hard_limit: SpaceLimit | None = child("space_hard_limit", SpaceLimit)
    space_soft_limit: SpaceLimit | None = child("space_soft_limit", SpaceLimit)

    def after_read(self) -> None:
        """Drop what other types have of a source, and other drivers of a <driver>."""
        if self.source is not None:
            self.source.keep(SOURCE_OF_TYPE[self.type])
            if self.source.socket is not None:
                self.source.dir = None
        if self.driver_type != "virtiofs":
            self.binary = None
        if self.multidevs == "default":
            self.multidevs = None
        if self.driver is not None and (self.driver.type != "virtiofs" or not self.driver.queue):
            self.driver.queue = None

    @property
    def source_path(self) -> str | None:
        """Where the files are: a folder, an image, a device, the name of a template or volume."""
        name = PATH_OF_TYPE.get(self.type)
        path: str | None = getattr(self.source, name) if self.source and name else None
        return path

    @property
    def source_socket(self) -> str | None:
        """The socket of a virtiofsd that is not ours."""
        return self.source.socket if self.source else None

    @property
    def usage(self) -> int | None:
        """The size of a tmpfs in KiB."""
        text = self.source.usage if self.source else None
        return int(text) if text is not None else None

    @property
    def driver_type(self) -> str | None:
        """What serves the folder."""
        return self.driver.type if self.driver else None

    @property
    def queue(self) -> int | None:
        """The length of the virtio queue."""
        return self.driver.queue if self.driver else None

    @property
    def wrpolicy(self) -> str | None:
        """When writes reach the disk."""
        return self.driver.wrpolicy if self.driver else None
