"""<hub>: more USB ports.

Source: libvirt 9.0 formatdomain, "Hub devices".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.mapper import Refusal, attribute, child, element
from conf.types.enum import one_of


@element("hub")
@dataclass(slots=True, kw_only=True)
class Hub:
    """<hub>."""

    type: str = attribute(
        "@type",
        read=one_of("usb", unknown="unknown hub device type '{}'"),
        default="usb",
        required=Refusal("internal", "missing hub device type"),
    )
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None
