"""<panic>: lets a guest say that it has crashed.

Source: libvirt 9.0 formatdomain, "panic device".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.mapper import attribute, child, element
from conf.types.enum import one_of


@element("panic")
@dataclass(slots=True, kw_only=True)
class Panic:
    """<panic>."""

    model: str | None = attribute(
        "@model",
        read=one_of(
            "default", "pseries", "isa", "hyperv", "s390", unknown="unknown panic model '{}'"
        ),
    )
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None
