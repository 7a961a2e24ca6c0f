"""<memballoon>: lets the host take memory back from a running guest.

Source: libvirt 9.0 formatdomain, "Memory balloon device".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.virtio import VirtioDriver
from conf.mapper import Mode, attribute, child, element
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import uint


@element("memballoon")
@dataclass(slots=True, kw_only=True)
class Memballoon:
    """<memballoon>: lets the host take memory back from a running guest."""

    model: str = attribute(
        "@model",
        read=one_of("virtio", "xen", "none", "virtio-transitional", "virtio-non-transitional"),
        default="virtio",
        required=True,
    )
    autodeflate: bool | None = attribute("@autodeflate", read=on_off, write=write_on_off)
    free_page_reporting: bool | None = attribute(
        "@freePageReporting", read=on_off, write=write_on_off
    )
    stats_period: int | None = attribute("stats/@period", read=uint)  # seconds
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    driver: VirtioDriver | None = child("driver", VirtioDriver)
    boot_order: int | None = None

    def before_write(self, mode: Mode) -> Memballoon:
        """Leave out the place of a balloon that there is not."""
        return replace(self, address=None, alias=None) if self.model == "none" else self
