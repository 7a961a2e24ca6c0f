"""<smartcard>: a card in the host or behind a connection.

Source: libvirt 9.0 formatdomain, "Smartcard devices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.chardev import (
    ONE_LOG,
    ONE_PROTOCOL,
    PROTOCOLS,
    WITH_PROTOCOL,
    CharEnd,
    CharSource,
)
from conf.domain.devices.chardev import TYPES as CHAR_TYPES
from conf.errors import ConfError
from conf.mapper import When, attribute, child, children, element, text, texts
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of

CERTIFICATES: Final = 3
WITH_CERTIFICATES: Final = When("mode", ("host-certificates",))


@element("smartcard")
@dataclass(slots=True, kw_only=True)
class Smartcard(CharSource):
    """<smartcard>."""

    mode: str = attribute(
        "@mode", read=one_of("host", "host-certificates", "passthrough"), default="", required=True
    )
    type: str | None = attribute("@type", read=CHAR_TYPES)  # type: ignore[assignment]
    ends: list[CharEnd] = children("source", CharEnd)
    log_file: str | None = attribute("log/@file", single=ONE_LOG)
    log_append: bool | None = attribute("log/@append", read=on_off, write=write_on_off)
    protocol: str | None = attribute(
        "protocol/@type", read=PROTOCOLS, single=ONE_PROTOCOL, when=WITH_PROTOCOL
    )
    certificates: list[str] = texts("certificate", when=WITH_CERTIFICATES)
    database: str | None = text("database", when=WITH_CERTIFICATES)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    def after_read(self) -> None:
        """Keep what the mode has.

        Raises:
            ConfError: "xml": a part is missing.
        """
        if self.mode == "host-certificates" and len(self.certificates) != CERTIFICATES:
            detail = "host-certificates mode needs exactly three certificates"
            raise ConfError("xml", detail, "smartcard/certificate")
        if self.database and not self.database.startswith("/"):
            detail = f"expecting absolute path: {self.database}"
            raise ConfError("xml", detail, "smartcard/database")
        if self.mode == "passthrough" and self.type is None:
            detail = "passthrough mode requires a character device type attribute"
            raise ConfError("xml", detail, "smartcard/@type")
        if self.mode != "passthrough":
            self.type = self.log_file = self.log_append = self.protocol = None
        CharSource.after_read(self)
