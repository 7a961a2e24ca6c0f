"""<smartcard>: a card in the host or behind a connection.

Source: libvirt 9.0 formatdomain, "Smartcard devices".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.chardev import TYPES as CHAR_TYPES
from conf.domain.devices.chardev import CharEnd, CharSource
from conf.mapper import attribute, child, children, element, text, texts
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of


@element("smartcard")
@dataclass(slots=True, kw_only=True)
class Smartcard(CharSource):
    """<smartcard>."""

    mode: str = attribute(
        "@mode", read=one_of("host", "host-certificates", "passthrough"), default="", required=True
    )
    type: str | None = attribute("@type", read=CHAR_TYPES)  # type: ignore[assignment]
    ends: list[CharEnd] = children("source", CharEnd)
    log_file: str | None = attribute("log/@file")
    log_append: bool | None = attribute("log/@append", read=on_off, write=write_on_off)
    protocol: str | None = attribute("protocol/@type")
    certificates: list[str] = texts("certificate")
    database: str | None = text("database")
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None
