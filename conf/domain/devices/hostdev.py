"""<hostdev>: passthrough of a host device.

Source: libvirt 9.0 formatdomain, "USB / PCI / SCSI devices".
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, fields
from typing import Final

from lxml import etree

from conf.domain.devices.address import ADDRESSES, Address, PciAddress, by_user, check_pci
from conf.domain.devices.addressing import Ip, Route
from conf.domain.devices.interface import Rom, Teaming
from conf.domain.devices.source import Auth, Source, SourceHost
from conf.errors import ConfError
from conf.mapper import attribute, child, children, element, flag, text
from conf.types.bool import is_yes, on_off, write_on_off, yes_no
from conf.types.enum import one_of
from conf.types.integer import hexadecimal, uint_any, uint_positive, unsigned_any
from conf.types.uuid import parse_uuid

#: The types of each mode.
TYPES: Final = {
    "subsystem": ("usb", "pci", "scsi", "scsi_host", "mdev"),
    "capabilities": ("storage", "misc", "net"),
}
#: What a USB device is told when its guest starts.
GUEST_RESETS: Final = one_of("off", "uninitialized", "on")
#: The fields of <source> that each type has.
SOURCE_OF_TYPE: Final = {
    "usb": ("startup_policy", "missing", "guest_reset", "vendor", "product", "address"),
    "pci": ("write_filtering", "address"),
    "scsi": ("protocol", "name", "adapter", "hosts", "address", "auth", "initiator"),
    "scsi_host": ("protocol", "wwpn"),
    "mdev": ("address",),
}  # fmt: skip
#: The models of those types that have some.
MODELS: Final = {
    "mdev": ("vfio-pci", "vfio-ccw", "vfio-ap"),
    "scsi_host": ("virtio", "virtio-transitional", "virtio-non-transitional"),
}
#: The element of <source> that names a device given to a container, by the device's type.
CAPABILITY_NAMES: Final = {"storage": "block", "misc": "char", "net": "interface"}


@element("address")
@dataclass(slots=True, kw_only=True)
class HostAddress:
    """<address> of a <source>: where the device is on the host."""

    domain: int | None = attribute("@domain", read=uint_any, write=hexadecimal(4))
    bus: int | None = attribute("@bus", read=uint_any)
    pci_bus: int | None = attribute("@bus", read=uint_any, write=hexadecimal(2))
    device: int | None = attribute("@device", read=uint_any)
    port: str | None = attribute("@port")
    target: int | None = attribute("@target", read=uint_any)
    unit: int | None = attribute("@unit", read=unsigned_any)
    slot: int | None = attribute("@slot", read=uint_any, write=hexadecimal(2))
    function: int | None = attribute("@function", read=uint_any, write=hexadecimal(1))
    uuid: str | None = attribute("@uuid")

    def after_read(self) -> None:
        """Keep bus= as PCI's, in hexadecimal, where there is a slot=; else as USB's or SCSI's."""
        if self.slot is None:
            self.pci_bus = None
        else:
            self.bus = None


def _uuid(text: str) -> str:
    try:
        return parse_uuid(text)
    except ValueError:
        detail = "Cannot parse uuid attribute of element <address>"
        raise ConfError("internal", detail, "hostdev/source/address/@uuid") from None


def _whole_place(address: HostAddress) -> HostAddress:
    """Return a place on the PCI bus: what the document leaves out is 0.

    Raises:
        ConfError: "xml": no bus has such a place.
    """
    bus = address.pci_bus if address.slot is not None else address.bus
    place = HostAddress(
        domain=address.domain or 0,
        pci_bus=bus or 0,
        slot=address.slot or 0,
        function=address.function or 0,
    )
    check_pci(place.pci_bus or 0, place.slot or 0, place.function or 0)
    return place


def _check_attributes(node: etree._Element, type_: str) -> None:
    """Refuse what only other types of devices have.

    Raises:
        ConfError: "xml"; "config_unsupported".
    """
    path = "domain/devices/hostdev"
    if type_ != "scsi":
        for name in ("sgio", "rawio"):
            if node.get(name) is not None:
                detail = f"{name} is only supported for scsi host device"
                raise ConfError("xml", detail, f"{path}/@{name}")
    if node.get("model") is not None and type_ not in MODELS:
        detail = f"'model' attribute in <hostdev> is only supported when type='{type_}'"
        raise ConfError("xml", detail, f"{path}/@model")
    source = node.find("source")
    if type_ != "usb" and source is not None and source.get("startupPolicy") is not None:
        detail = "Setting startupPolicy is only allowed for USB devices"
        raise ConfError("config_unsupported", detail, f"{path}/source/@startupPolicy")


def _check_usb_source(node: etree._Element) -> None:
    """Check that a USB device is named by both halves of its id, or of its place.

    Raises:
        ConfError: "xml"; "internal".
    """
    path = "domain/devices/hostdev/source"
    zero = False
    names = {name: node.find(f"source/{name}") for name in ("vendor", "product")}
    for name, part in names.items():
        if part is not None and part.get("id") is None:
            detail = f"Missing required attribute 'id' in element '{name}'"
            raise ConfError("xml", detail, f"{path}/{name}/@id")
    for name, part in names.items():
        if part is None and any(other is not None for other in names.values()):
            raise ConfError("internal", f"missing {name}", path)
    vendor, address = names["vendor"], node.find("source/address")
    with contextlib.suppress(ValueError):  # the mapper says what is no number
        zero = vendor is not None and uint_any(vendor.get("id", "")) == 0
    if zero:
        detail = "Invalid value for attribute 'id' in element 'vendor': Zero is not permitted"
        raise ConfError("xml", detail, f"{path}/vendor/@id")
    for name in ("bus", "device"):
        if address is not None and address.get(name) is None:
            detail = f"Missing required attribute '{name}' in element 'address'"
            raise ConfError("xml", detail, f"{path}/address/@{name}")


@element("source")
@dataclass(slots=True, kw_only=True)
class HostdevSource:
    """<source>."""

    startup_policy: str | None = attribute(
        "@startupPolicy", read=one_of("mandatory", "requisite", "optional")
    )
    missing: bool | None = attribute("@missing", read=yes_no, only="live")
    guest_reset: str | None = attribute("@guestReset", read=GUEST_RESETS)
    write_filtering: bool | None = attribute("@writeFiltering", read=yes_no)
    protocol: str | None = attribute("@protocol")
    name: str | None = attribute("@name")
    wwpn: str | None = attribute("@wwpn")
    vendor: int | None = attribute("vendor/@id", read=uint_any, write=hexadecimal(4))
    product: int | None = attribute("product/@id", read=uint_any, write=hexadecimal(4))
    adapter: str | None = attribute("adapter/@name")
    hosts: list[SourceHost] = children("host", SourceHost)
    address: HostAddress | None = child("address", HostAddress)
    auth: Auth | None = child("auth", Auth)
    initiator: str | None = attribute("initiator/iqn/@name")
    block: str | None = text("block")
    char: str | None = text("char")
    interface: str | None = text("interface")

    @property
    def storage(self) -> Source | None:
        """An iSCSI disk as a source."""
        if self.protocol != "iscsi":
            return None
        return Source(
            type="network",
            protocol=self.protocol,
            name=self.name,
            hosts=self.hosts,
            auth=self.auth,
            initiator=self.initiator,
        )

    @property
    def pci(self) -> PciAddress | None:
        """The device's place on the host's PCI bus."""
        at = self.address
        if at is None or at.slot is None:
            return None
        return PciAddress(
            domain=at.domain or 0, bus=at.pci_bus or 0, slot=at.slot, function=at.function or 0
        )

    @property
    def uuid(self) -> str | None:
        """The mediated device."""
        return self.address.uuid if self.address else None

    @property
    def bus(self) -> int | None:
        """The USB device's bus."""
        return self.address.bus if self.address else None

    @property
    def device(self) -> int | None:
        """The USB device's number."""
        return self.address.device if self.address else None


def _keep_usb_names(source: HostdevSource) -> None:
    """Keep whole names of a USB device: both ids, and bus and device; libvirt has no port."""
    if source.vendor is None or source.product is None:
        source.vendor = source.product = None
    at = source.address
    source.address = None
    if at is not None and None not in (at.bus, at.device) and (at.bus, at.device) != (0, 0):
        source.address = HostAddress(bus=at.bus, device=at.device)


@element("source")
@dataclass(slots=True, kw_only=True)
class CapabilitySource:
    """The <source>s of a device that is given to a container: which kind of name counts, its type.

    libvirt looks these names up by XPath, in all <source>s.
    """

    block: str | None = text("block")
    char: str | None = text("char")
    interface: str | None = text("interface")


@element("hostdev")
@dataclass(slots=True, kw_only=True)
class Hostdev:
    """<hostdev>."""

    mode: str = attribute("@mode", default="subsystem")
    type: str = attribute("@type", default="")
    managed: bool | None = attribute("@managed", read=is_yes)
    sgio: str | None = attribute("@sgio")
    rawio: bool | None = attribute("@rawio", read=yes_no)
    model: str | None = attribute("@model")
    display: bool | None = attribute("@display", read=on_off, write=write_on_off)
    ramfb: bool | None = attribute("@ramfb", read=on_off, write=write_on_off)
    driver: str | None = attribute("driver/@name", read=one_of("kvm", "vfio", "xen"), first=True)
    source: HostdevSource = child("source", HostdevSource)
    capability_source: CapabilitySource | None = child("source", CapabilitySource, merge=True)
    ips: list[Ip] = children("ip", Ip)
    routes: list[Route] = children("route", Route)
    teaming: Teaming | None = child("teaming", Teaming)
    readonly: bool = flag("readonly")
    shareable: bool = flag("shareable")
    boot_order: int | None = attribute("boot/@order", read=uint_positive, required=True)
    rom: Rom | None = child("rom", Rom)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)

    def _keep_source(self) -> None:
        """Drop what only sources of other types have.

        Source: libvirt 9.0 virDomainHostdevDefParseXMLSubsys.
        """
        source = self.source
        for place in fields(source):
            if place.name not in SOURCE_OF_TYPE[self.type]:
                setattr(source, place.name, [] if place.name == "hosts" else None)
        if self.type != "scsi":
            self.readonly = self.shareable = False
            self.sgio = self.rawio = None
        if source.protocol != "iscsi":
            source.hosts, source.auth, source.initiator, source.name = [], None, None, None
        if self.type == "usb":
            _keep_usb_names(source)
        if self.type != "pci":
            self.driver = None
        else:
            source.address = _whole_place(source.address or HostAddress())
        if self.type != "mdev":
            self.display = self.ramfb = None
        elif source.address is not None and source.address.uuid is not None:
            source.address.uuid = _uuid(source.address.uuid)

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Check mode and type, what other types have not, and that there is a <source>.

        Raises:
            ConfError: "config_unsupported"; "xml".
        """
        mode, type_ = node.get("mode", "subsystem"), node.get("type")
        path = "domain/devices/hostdev"
        if mode not in TYPES:
            raise ConfError("config_unsupported", f"unknown hostdev mode '{mode}'", f"{path}/@mode")
        if type_ is None:
            raise ConfError("xml", "missing source address type", f"{path}/@type")
        if type_ not in TYPES[mode]:
            detail = f"unknown host device source address type '{type_}'"
            raise ConfError("config_unsupported", detail, f"{path}/@type")
        if node.find("source") is None:
            raise ConfError("xml", "Missing <source> element in hostdev device", f"{path}/source")
        _check_attributes(node, type_)
        if type_ == "usb":
            _check_usb_source(node)
        model = node.get("model")
        if mode == "subsystem" and model is None and type_ == "mdev":
            detail = "Missing required attribute 'model' in element 'hostdev'"
            raise ConfError("xml", detail, f"{path}/@model")
        if model is not None and model not in MODELS.get(type_, (model,)):
            detail = f"Invalid value for attribute 'model' in element 'hostdev': '{model}'."
            raise ConfError("xml", detail, f"{path}/@model")

    def after_read(self) -> None:
        """Keep the <source>, <ip> and <route> that count for the mode and type; an empty source."""
        names, self.capability_source = self.capability_source, None
        self.source = self.source or HostdevSource()
        self.source.block = self.source.char = self.source.interface = None
        if self.mode == "capabilities":
            self.managed = None
            self.source = HostdevSource()
            if names is not None and self.type in CAPABILITY_NAMES:
                name = CAPABILITY_NAMES[self.type]
                setattr(self.source, name, getattr(names, name))
        if self.mode == "subsystem":
            self._keep_source()
        if (self.mode, self.type) != ("capabilities", "net"):
            self.ips, self.routes = [], []
