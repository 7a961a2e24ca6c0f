"""<address>: where a device sits; <alias>: what it is called while its guest runs.

Source: libvirt 9.0 formatdomain, "Device Addresses".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import Choice, Refusal, attribute, child, element
from conf.types.bool import on_off, write_on_off
from conf.types.integer import (
    hexadecimal,
    signed,
    uint,
    uint_any,
    uint_hexadecimal,
    unsigned_hexadecimal,
)

USB_DEPTH: Final = 4  # hubs behind each other, libvirt's limit
MAX_BUS: Final = 0xFF
MAX_SLOT: Final = 0x1F
MAX_FUNCTION: Final = 7


def by_user(alias: object) -> bool:
    """Return whether an alias is the user's ("ua-…"): only such are in the inactive XML."""
    return str(alias).startswith("ua-")


def check_pci(bus: int, slot: int, function: int) -> None:
    """Refuse numbers that no PCI bus has.

    Source: libvirt 9.0 virPCIDeviceAddressIsValid.

    Raises:
        ConfError: "xml".
    """
    if bus > MAX_BUS:
        raise ConfError("xml", f"Invalid PCI address bus='{bus:#x}', must be <= 0xFF", "address")
    if slot > MAX_SLOT:
        detail = f"Invalid PCI address slot='{slot:#x}', must be <= 0x1F"
        raise ConfError("xml", detail, "address")
    if function > MAX_FUNCTION:
        detail = f"Invalid PCI address function={function:#x}, must be <= 7"
        raise ConfError("xml", detail, "address")


@element("zpci")
@dataclass(slots=True, kw_only=True)
class Zpci:
    """<zpci>: a PCI function's numbers on a mainframe."""

    uid: str | None = attribute("@uid")
    fid: str | None = attribute("@fid")


@element("address")
@dataclass(slots=True, kw_only=True)
class PciAddress:
    """A place on a PCI bus."""

    type: str = attribute("@type", default="pci")
    domain: int = attribute("@domain", read=uint_any, write=hexadecimal(4), default=0)
    bus: int = attribute("@bus", read=uint_any, write=hexadecimal(2), default=0)
    slot: int = attribute("@slot", read=uint_any, write=hexadecimal(2), default=0)
    function: int = attribute("@function", read=uint_any, write=hexadecimal(1), default=0)
    multifunction: bool | None = attribute("@multifunction", read=on_off, write=write_on_off)
    zpci: Zpci | None = child("zpci", Zpci)

    def after_read(self) -> None:
        """Check that there can be such a place.

        Raises:
            ConfError: "xml".
        """
        check_pci(self.bus, self.slot, self.function)


@element("address")
@dataclass(slots=True, kw_only=True)
class DriveAddress:
    """A place on a disk controller."""

    type: str = attribute("@type", default="drive")
    controller: int = attribute("@controller", read=uint, write=signed, default=0)
    bus: int = attribute("@bus", read=uint, write=signed, default=0)
    target: int = attribute("@target", read=uint, write=signed, default=0)
    unit: int = attribute("@unit", read=uint, write=signed, default=0)


@element("address")
@dataclass(slots=True, kw_only=True)
class VirtioSerialAddress:
    """A port of a virtio-serial controller."""

    type: str = attribute("@type", default="virtio-serial")
    controller: int = attribute("@controller", read=uint, default=0)
    bus: int = attribute("@bus", read=uint, default=0)
    port: int = attribute("@port", read=uint, default=0)


@element("address")
@dataclass(slots=True, kw_only=True)
class CcidAddress:
    """A slot of a smartcard reader."""

    type: str = attribute("@type", default="ccid")
    controller: int = attribute("@controller", read=uint, default=0)
    slot: int = attribute("@slot", read=uint, default=0)


def _usb_port(text: str) -> str:
    """Read a port: up to four numbers of 32 bits, parted by points.

    Raises:
        ConfError: "internal".
    """
    parts = text.split(".")
    try:
        numbers = [uint(part) for part in parts]
    except ValueError:
        numbers = []
    if len(parts) > USB_DEPTH or not numbers:
        raise ConfError("internal", "Cannot parse <address> 'port' attribute", "address/@port")
    return ".".join(map(str, numbers))


@element("address")
@dataclass(slots=True, kw_only=True)
class UsbAddress:
    """A port of a USB bus: "1.2" is the second port of a hub in the first."""

    type: str = attribute("@type", default="usb")
    bus: int = attribute("@bus", read=uint, default=0)
    port: str | None = attribute("@port", read=_usb_port)


@element("address")
@dataclass(slots=True, kw_only=True)
class IsaAddress:
    """Ports and interrupt of an ISA device."""

    type: str = attribute("@type", default="isa")
    iobase: int | None = attribute("@iobase", read=uint_hexadecimal, write=hexadecimal(1), omit=0)
    irq: int | None = attribute("@irq", read=uint_hexadecimal, write=hexadecimal(1), omit=0)


@element("address")
@dataclass(slots=True, kw_only=True)
class DimmAddress:
    """A memory slot."""

    type: str = attribute("@type", default="dimm")
    slot: int = attribute("@slot", read=uint, default=0, required=True)
    base: int | None = attribute("@base", read=unsigned_hexadecimal, write=hexadecimal(1), omit=0)


@element("address")
@dataclass(slots=True, kw_only=True)
class SpaprAddress:
    """A register of a pSeries bus."""

    type: str = attribute("@type", default="spapr-vio")
    reg: int | None = attribute("@reg", read=unsigned_hexadecimal, write=hexadecimal(8))


@element("address")
@dataclass(slots=True, kw_only=True)
class CcwAddress:
    """A place on an s390 channel."""

    type: str = attribute("@type", default="ccw")
    cssid: str | None = attribute("@cssid")
    ssid: str | None = attribute("@ssid")
    devno: str | None = attribute("@devno")


@element("address")
@dataclass(slots=True, kw_only=True)
class PlainAddress:
    """A kind of address that says nothing more."""

    type: str = attribute("@type", default="unassigned")


Address = (
    PciAddress
    | DriveAddress
    | VirtioSerialAddress
    | CcidAddress
    | UsbAddress
    | IsaAddress
    | DimmAddress
    | SpaprAddress
    | CcwAddress
    | PlainAddress
)
ADDRESSES: Final = Choice(
    "type",
    {
        "pci": PciAddress,
        "drive": DriveAddress,
        "virtio-serial": VirtioSerialAddress,
        "ccid": CcidAddress,
        "usb": UsbAddress,
        "isa": IsaAddress,
        "dimm": DimmAddress,
        "spapr-vio": SpaprAddress,
        "ccw": CcwAddress,
        "virtio-mmio": PlainAddress,
        "unassigned": PlainAddress,
        "virtio-s390": PlainAddress,
    },
    missing=Refusal("internal", "No type specified for device address"),
    unknown=Refusal("config_unsupported", "unknown address type '{}'"),
)
