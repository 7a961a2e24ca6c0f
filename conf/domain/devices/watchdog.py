"""<watchdog>: what happens when the guest no longer says that it lives.

Source: libvirt 9.0 formatdomain, "Watchdog devices".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.mapper import Refusal, attribute, child, element
from conf.types.enum import one_of


@element("watchdog")
@dataclass(slots=True, kw_only=True)
class Watchdog:
    """<watchdog>."""

    model: str = attribute(
        "@model",
        read=one_of("i6300esb", "ib700", "diag288", "itco", unknown="unknown watchdog model '{}'"),
        default="",
        required=Refusal("internal", "watchdog must contain model name"),
    )
    action: str | None = attribute(
        "@action",
        read=one_of(
            "reset",
            "shutdown",
            "poweroff",
            "pause",
            "dump",
            "none",
            "inject-nmi",
            unknown="unknown watchdog action '{}'",
        ),
    )
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None
