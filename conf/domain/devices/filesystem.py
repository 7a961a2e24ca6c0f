"""<filesystem>: a folder of the host that a guest sees.

Source: libvirt 9.0 formatdomain, "Filesystems".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.mapper import attribute, child, element, flag, text
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import uint, uint_positive, unsigned
from conf.types.size import to_bytes, to_kib


def create_mode(text: str) -> str:
    """Read the mode of files that a guest creates: octal, written with four digits."""
    return f"{int(text, 8):04o}"


#: The attributes of <source>, each with the type that has it; "bind" has those of "mount".
SOURCE_OF_TYPE: Final = (
    ("mount", "source_dir"),
    ("mount", "source_socket"),
    ("file", "source_file"),
    ("block", "source_dev"),
    ("template", "source_name"),
    ("ram", "usage"),
    ("ram", "usage_unit"),
)


@element("driver")
@dataclass(slots=True, kw_only=True)
class FilesystemDriver:
    """<driver>."""

    type: str | None = attribute(
        "@type", read=one_of("path", "handle", "loop", "nbd", "ploop", "virtiofs")
    )
    format: str | None = attribute("@format")
    name: str | None = attribute("@name")
    wrpolicy: str | None = attribute("@wrpolicy", read=one_of("immediate"))
    queue: int | None = attribute("@queue", read=unsigned)
    iommu: bool | None = attribute("@iommu", read=on_off, write=write_on_off)
    ats: bool | None = attribute("@ats", read=on_off, write=write_on_off)
    packed: bool | None = attribute("@packed", read=on_off, write=write_on_off)
    page_per_vq: bool | None = attribute("@page_per_vq", read=on_off, write=write_on_off)


@element("binary")
@dataclass(slots=True, kw_only=True)
class FilesystemBinary:
    """<binary>: virtiofsd's own settings."""

    path: str | None = attribute("@path")
    xattr: bool | None = attribute("@xattr", read=on_off, write=write_on_off)
    cache: str | None = attribute("cache/@mode", read=one_of("none", "always"))
    sandbox: str | None = attribute("sandbox/@mode", read=one_of("namespace", "chroot"))
    lock_posix: bool | None = attribute("lock/@posix", read=on_off, write=write_on_off)
    lock_flock: bool | None = attribute("lock/@flock", read=on_off, write=write_on_off)
    thread_pool: int | None = attribute("thread_pool/@size", read=uint)


@element("space_hard_limit")
@dataclass(slots=True, kw_only=True)
class SpaceLimit:
    """<space_hard_limit>, <space_soft_limit>: bytes once it has been read."""

    unit: str = attribute("@unit", default="bytes")
    amount: int = text(".", read=unsigned, default=0)

    def after_read(self) -> None:
        """Count in bytes."""
        self.amount, self.unit = to_bytes(self.amount, self.unit), "bytes"


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
        "@accessmode", read=one_of("passthrough", "mapped", "squash")
    )
    fmode: str | None = attribute("@fmode", read=create_mode)
    dmode: str | None = attribute("@dmode", read=create_mode)
    model: str | None = attribute(
        "@model", read=one_of("virtio", "virtio-transitional", "virtio-non-transitional")
    )
    multidevs: str | None = attribute("@multidevs", read=one_of("remap", "forbid", "warn"))
    driver: FilesystemDriver | None = child("driver", FilesystemDriver)
    binary: FilesystemBinary | None = child("binary", FilesystemBinary)
    source_dir: str | None = attribute("source/@dir")
    source_socket: str | None = attribute("source/@socket")
    source_file: str | None = attribute("source/@file")
    source_dev: str | None = attribute("source/@dev")
    source_name: str | None = attribute("source/@name")
    usage: int | None = attribute("source/@usage", read=unsigned)  # KiB once read: type "ram"
    usage_unit: str | None = attribute("source/@units")
    target_dir: str | None = attribute("target/@dir")
    readonly: bool = flag("readonly")
    space_hard_limit: SpaceLimit | None = child("space_hard_limit", SpaceLimit)
    space_soft_limit: SpaceLimit | None = child("space_soft_limit", SpaceLimit)
    boot_order: int | None = attribute("boot/@order", read=uint_positive, required=True)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)

    def after_read(self) -> None:
        """Count a tmpfs's size in KiB; drop the source attributes of other types."""
        for type_, name in SOURCE_OF_TYPE:
            if type_ != (self.type if self.type != "bind" else "mount"):
                setattr(self, name, None)
        if self.usage is not None:
            self.usage, self.usage_unit = to_kib(self.usage, self.usage_unit or "KiB"), "KiB"

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
