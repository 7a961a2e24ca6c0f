"""<video>: the guest's graphics adapter.

Source: libvirt 9.0 formatdomain, "Video devices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lxml import etree

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.errors import ConfError
from conf.mapper import attribute, child, element
from conf.types.bool import is_yes, on_off, write_on_off, yes_no
from conf.types.enum import one_of
from conf.types.integer import uint

MODELS = one_of(
    "vga", "cirrus", "vmvga", "xen", "vbox", "qxl", "parallels", "virtio", "gop", "none", "bochs",
    "ramfb", unknown="unknown video model '{}'",
)  # fmt: skip

#: What <acceleration> can say.
ACCELERATIONS: Final = {"accel2d", "accel3d", "rendernode"}


@element("driver", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class VideoDriver:
    """<driver>."""

    vgaconf: str | None = attribute("@vgaconf", read=one_of("io", "on", "off"))
    iommu: bool | None = attribute("@iommu", read=on_off, write=write_on_off)
    ats: bool | None = attribute("@ats", read=on_off, write=write_on_off)
    packed: bool | None = attribute("@packed", read=on_off, write=write_on_off)
    page_per_vq: bool | None = attribute("@page_per_vq", read=on_off, write=write_on_off)
    name: str | None = attribute("@name", read=one_of("qemu", "vhostuser"))


@element("resolution")
@dataclass(slots=True, kw_only=True)
class Resolution:
    """<resolution>."""

    x: int = attribute("@x", read=uint, default=0)
    y: int = attribute("@y", read=uint, default=0)


@element("model")
@dataclass(slots=True, kw_only=True)
class VideoModel:
    """<model>; memory is in KiB."""

    type: str = attribute("@type", read=MODELS, default="", omit="", empty_is_absent=True)
    ram: int | None = attribute("@ram", read=uint, empty_is_absent=True)
    vram: int | None = attribute("@vram", read=uint, empty_is_absent=True)
    vram64: int | None = attribute("@vram64", read=uint, omit=0, empty_is_absent=True)
    vgamem: int | None = attribute("@vgamem", read=uint, empty_is_absent=True)
    heads: int | None = attribute("@heads", read=uint, omit=0, bad="internal", empty_is_absent=True)
    primary: bool | None = attribute("@primary", read=is_yes, omit=False)
    blob: bool | None = attribute("@blob", read=on_off, write=write_on_off)
    accel2d: bool | None = attribute("acceleration/@accel2d", read=yes_no)
    accel3d: bool | None = attribute("acceleration/@accel3d", read=yes_no)
    rendernode: str | None = attribute("acceleration/@rendernode")
    resolution: Resolution | None = child("resolution", Resolution)

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Refuse an <acceleration> that says nothing.

        Raises:
            ConfError: "config_unsupported".
        """
        acceleration = node.find("acceleration")
        if acceleration is not None and not ACCELERATIONS & set(acceleration.keys()):
            detail = "missing values for acceleration"
            raise ConfError("config_unsupported", detail, "video/model/acceleration")


@element("video")
@dataclass(slots=True, kw_only=True)
class Video:
    """<video>."""

    driver: VideoDriver | None = child("driver", VideoDriver)
    model: VideoModel = child("model", VideoModel, merge=True)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    def after_read(self) -> None:
        """Add an empty <model> where the XML has none; the default is chosen later."""
        self.model = self.model or VideoModel()
