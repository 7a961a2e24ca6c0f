"""<iommu>: what keeps a guest's devices apart.

Source: libvirt 9.0 formatdomain, "IOMMU devices".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.mapper import attribute, child, element
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import uint


@element("driver", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class IommuDriver:
    """<driver> of an IOMMU."""

    intremap: bool | None = attribute("@intremap", read=on_off, write=write_on_off)
    caching_mode: bool | None = attribute("@caching_mode", read=on_off, write=write_on_off)
    eim: bool | None = attribute("@eim", read=on_off, write=write_on_off)
    iotlb: bool | None = attribute("@iotlb", read=on_off, write=write_on_off)
    aw_bits: int | None = attribute("@aw_bits", read=uint, omit=0)


@element("iommu")
@dataclass(slots=True, kw_only=True)
class Iommu:
    """<iommu>."""

    model: str = attribute(
        "@model", read=one_of("intel", "smmuv3", "virtio"), default="", required=True
    )
    driver: IommuDriver | None = child("driver", IommuDriver)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None
