"""<redirdev>: a USB device at the other end of a connection; <redirfilter>, which ones may be.

Source: libvirt 9.0 formatdomain, "Redirected devices".
"""

from __future__ import annotations

from dataclasses import dataclass

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
from conf.mapper import Refusal, attribute, child, children, element
from conf.types.bool import on_off, write_on_off, yes_no
from conf.types.enum import one_of
from conf.types.integer import int_any, uint_positive, upper_hexadecimal


@element("redirdev")
@dataclass(slots=True, kw_only=True)
class Redirdev(CharSource):
    """<redirdev>: a USB device at the other end of a connection."""

    bus: str = attribute(
        "@bus", read=one_of("usb", unknown="unknown redirdev bus '{}'"), default="usb"
    )
    type: str = attribute(
        "@type",
        read=CHAR_TYPES,
        default="tcp",
        required=Refusal("internal", "missing type in redirdev"),
    )
    ends: list[CharEnd] = children("source", CharEnd)
    log_file: str | None = attribute("log/@file", single=ONE_LOG)
    log_append: bool | None = attribute("log/@append", read=on_off, write=write_on_off)
    protocol: str | None = attribute(
        "protocol/@type", read=PROTOCOLS, single=ONE_PROTOCOL, when=WITH_PROTOCOL
    )
    boot_order: int | None = attribute("boot/@order", read=uint_positive, required=True)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)

    @property
    def source(self) -> CharSource:
        """The connection."""
        return self


def wildcard(text: str) -> int | None:
    """Read a number; -1 matches any."""
    return None if text.lstrip() == "-1" else int_any(text)


def usb_version(text: str) -> int | None:
    """Read "1.10" as USB writes it in its descriptors: 0x0110; -1 matches any."""
    if text.strip() == "-1":
        return None
    major, _, minor = text.partition(".")
    return (int(major, 16) << 8) | int(
        minor.ljust(2, "0")[:2] if len(minor) > 1 else f"0{minor or 0}", 16
    )


def write_version(value: object) -> str:
    """Write 0x0110 as "1.10"."""
    number = int(str(value))
    return f"{number >> 8:x}.{number & 0xFF:02x}"


@element("usbdev")
@dataclass(slots=True, kw_only=True)
class UsbRule:
    """<usbdev>: which devices may be redirected."""

    usb_class: int | None = attribute("@class", read=wildcard, write=upper_hexadecimal(2))
    vendor: int | None = attribute("@vendor", read=wildcard, write=upper_hexadecimal(4))
    product: int | None = attribute("@product", read=wildcard, write=upper_hexadecimal(4))
    version: int | None = attribute("@version", read=usb_version, write=write_version)
    allow: bool = attribute("@allow", read=yes_no, default=False, required=True)


@element("redirfilter", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Redirfilter:
    """<redirfilter>."""

    rules: list[UsbRule] = children("usbdev", UsbRule)
