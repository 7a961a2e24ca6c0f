"""<driver> of devices that only have virtio's own switches there.

Source: libvirt 9.0 formatdomain, "Virtio-related options".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.mapper import attribute, element
from conf.types.bool import on_off, write_on_off
from conf.types.integer import uint

#: The switches of every virtio device, and what libvirt calls them where they are refused.
SWITCHES: Final = {
    "iommu": "iommu driver option",
    "ats": "ats driver option",
    "packed": "packed driver option",
    "page_per_vq": "page_per_vq option",
}


@element("driver", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class VirtioDriver:
    """<driver>."""

    name: str | None = attribute("@name")
    iommu: bool | None = attribute("@iommu", read=on_off, write=write_on_off)
    ats: bool | None = attribute("@ats", read=on_off, write=write_on_off)
    packed: bool | None = attribute("@packed", read=on_off, write=write_on_off)
    page_per_vq: bool | None = attribute("@page_per_vq", read=on_off, write=write_on_off)


@element("driver", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class ControllerDriver:
    """<driver> of a controller."""

    queues: int | None = attribute("@queues", read=uint, omit=0)
    cmd_per_lun: int | None = attribute("@cmd_per_lun", read=uint)
    max_sectors: int | None = attribute("@max_sectors", read=uint)
    ioeventfd: bool | None = attribute("@ioeventfd", read=on_off, write=write_on_off)
    iothread: int | None = attribute("@iothread", read=uint, omit=0)
    iommu: bool | None = attribute("@iommu", read=on_off, write=write_on_off)
    ats: bool | None = attribute("@ats", read=on_off, write=write_on_off)
    packed: bool | None = attribute("@packed", read=on_off, write=write_on_off)
    page_per_vq: bool | None = attribute("@page_per_vq", read=on_off, write=write_on_off)
