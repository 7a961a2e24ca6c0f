"""<vsock>: sockets between host and guest.

Source: libvirt 9.0 formatdomain, "Vsock".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.virtio import VirtioDriver
from conf.mapper import attribute, child, element
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import uint_positive


@element("vsock")
@dataclass(slots=True, kw_only=True)
class Vsock:
    """<vsock>."""

    model: str | None = attribute(
        "@model", read=one_of("virtio", "virtio-transitional", "virtio-non-transitional")
    )
    cid_auto: bool | None = attribute("cid/@auto", read=yes_no, first=True)
    cid_address: int | None = attribute("cid/@address", read=uint_positive, first=True)
    driver: VirtioDriver | None = child("driver", VirtioDriver)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None
