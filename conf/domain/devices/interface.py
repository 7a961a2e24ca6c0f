"""<interface>: a NIC and what it is connected to.

Source: libvirt 9.0 formatdomain, "Network interfaces".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from lxml import etree

from conf.domain.devices.address import ADDRESSES, Address, PciAddress, by_user
from conf.domain.devices.addressing import Ip, Route
from conf.domain.devices.source import Reconnect
from conf.errors import ConfError
from conf.mapper import Choice, Mode, Refusal, attribute, child, children, element, text
from conf.types.bandwidth import Bandwidth
from conf.types.bool import is_yes, on_off, write_on_off, yes_no
from conf.types.enum import one_of
from conf.types.integer import uint, uint_positive, unsigned
from conf.types.mac import unicast_mac
from conf.types.virtual_port import VirtualPort
from conf.types.vlan import Vlan

TYPES = one_of(
    "user", "ethernet", "bridge", "network", "internal", "direct", "hostdev", "server", "client",
    "mcast", "udp", "vhostuser", "vdpa", "null", "vds",
)  # fmt: skip
#: Names that the host chooses, which end with the guest.
GIVEN_NAMES = re.compile(r"(vnet|vif|macvtap|macvlan)\d+")


#: Models that libvirt knows; it reads them in any case, and writes them so.
MODELS: Final = {
    name.lower(): name
    for name in (
        "netfront", "rtl8139", "virtio", "e1000", "e1000e", "virtio-transitional",
        "virtio-non-transitional", "usb-net", "spapr-vlan", "lan9118", "smc91c111", "vlance",
        "vmxnet", "vmxnet2", "vmxnet3", "Am79C970A", "Am79C973", "82540EM", "82545EM", "82543GC",
    )
}  # fmt: skip


def interface_model(text: str) -> str:
    """Read the model of a network adapter."""
    return MODELS.get(text.lower(), text)


def _no_backend(text: str) -> str:
    """Refuse a kind of backend: libvirt 9.0 is built without passt, the only one there is.

    Raises:
        ConfError: "xml".
    """
    detail = f"Invalid value for attribute 'type' in element 'backend': '{text}'."
    raise ConfError("xml", detail, "domain/devices/interface/backend/@type")


def _forwarded_address(text: str) -> str:
    """Read the host's address of forwarded ports.

    Raises:
        ConfError: "xml".
    """
    try:
        ip_address(text)
    except ValueError:
        detail = f"Invalid address '{text}' in <portForward>"
        raise ConfError("xml", detail, "domain/devices/interface/portForward/@address") from None
    return text


@element("mac")
@dataclass(slots=True, kw_only=True)
class Mac:
    """<mac>."""

    address: str = attribute("@address", read=unicast_mac, default="")
    type: str | None = attribute("@type", read=one_of("generated", "static"))
    check: bool | None = attribute("@check", read=yes_no)


HOST_ADDRESSES = Choice(
    "type",
    {"pci": PciAddress},
    missing=Refusal("xml", "missing source address type"),
    unknown=Refusal("config_unsupported", "unknown host device source address type '{}'"),
)
#: Types of interfaces that a switch may treat by <virtualport>.
SWITCHED = ("network", "bridge", "direct", "hostdev")
#: Types of interfaces that have no <source>.
WITHOUT_SOURCE = ("user", "ethernet", "null")


@element("source")
@dataclass(slots=True, kw_only=True)
class InterfaceSource:
    """<source>; which attributes count depends on the interface's type."""

    network: str | None = attribute("@network")
    portgroup: str | None = attribute("@portgroup")
    portid: str | None = attribute("@portid", only="live")
    bridge: str | None = attribute("@bridge")
    address: str | None = attribute("@address")
    port: int | None = attribute("@port", read=uint)
    dev: str | None = attribute("@dev")
    type: str | None = attribute("@type")
    path: str | None = attribute("@path")
    mode: str | None = attribute("@mode")
    name: str | None = attribute("@name")
    managed: bool | None = attribute("@managed", read=yes_no)
    host_address: PciAddress | None = child("address", HOST_ADDRESSES)
    reconnect: Reconnect | None = child("reconnect", Reconnect)
    local_address: str | None = attribute("local/@address")
    local_port: int | None = attribute("local/@port", read=uint)


@element("range")
@dataclass(slots=True, kw_only=True)
class PortRange:
    """<range> of <portForward>: ports of the host, and the guest's first one."""

    start: int | None = attribute("@start", read=uint_positive)
    end: int | None = attribute("@end", read=uint_positive)
    to: int | None = attribute("@to", read=uint_positive)
    exclude: bool | None = attribute("@exclude", read=yes_no)


@element("portForward")
@dataclass(slots=True, kw_only=True)
class PortForward:
    """<portForward>: the host's ports that passt forwards to the guest."""

    proto: str = attribute("@proto", read=one_of("tcp", "udp"), required=True)
    address: str | None = attribute("@address", read=_forwarded_address)
    dev: str | None = attribute("@dev")
    ranges: list[PortRange] = children("range", PortRange)

    def after_read(self) -> None:
        """Drop ranges without a start: they mean nothing."""
        self.ranges = [each for each in self.ranges if each.start is not None]


@element("parameter")
@dataclass(slots=True, kw_only=True)
class FilterParameter:
    """<parameter> of a filter."""

    name: str = attribute("@name", default="")
    value: str = attribute("@value", default="")


@element("filterref")
@dataclass(slots=True, kw_only=True)
class FilterRef:
    """<filterref>."""

    filter: str = attribute("@filter", default="")
    parameters: list[FilterParameter] = children("parameter", FilterParameter)


@element("host", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Offloads:
    """<host>, <guest> of a driver: work that is not done in software."""

    csum: bool | None = attribute("@csum", read=on_off, write=write_on_off)
    gso: bool | None = attribute("@gso", read=on_off, write=write_on_off)
    tso4: bool | None = attribute("@tso4", read=on_off, write=write_on_off)
    tso6: bool | None = attribute("@tso6", read=on_off, write=write_on_off)
    ecn: bool | None = attribute("@ecn", read=on_off, write=write_on_off)
    ufo: bool | None = attribute("@ufo", read=on_off, write=write_on_off)
    mrg_rxbuf: bool | None = attribute("@mrg_rxbuf", read=on_off, write=write_on_off)


@element("driver", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class InterfaceDriver:
    """<driver>."""

    name: str | None = attribute("@name", read=one_of("qemu", "vhost", "vfio", "kvm", "xen"))
    tx_mode: str | None = attribute("@txmode", read=one_of("iothread", "timer"))
    ioeventfd: bool | None = attribute("@ioeventfd", read=on_off, write=write_on_off)
    event_idx: bool | None = attribute("@event_idx", read=on_off, write=write_on_off)
    queues: int | None = attribute("@queues", read=uint)
    rx_queue_size: int | None = attribute("@rx_queue_size", read=uint)
    tx_queue_size: int | None = attribute("@tx_queue_size", read=uint)
    rss: bool | None = attribute("@rss", read=on_off, write=write_on_off)
    rss_hash_report: bool | None = attribute("@rss_hash_report", read=on_off, write=write_on_off)
    iommu: bool | None = attribute("@iommu", read=on_off, write=write_on_off)
    ats: bool | None = attribute("@ats", read=on_off, write=write_on_off)
    packed: bool | None = attribute("@packed", read=on_off, write=write_on_off)
    page_per_vq: bool | None = attribute("@page_per_vq", read=on_off, write=write_on_off)
    host: Offloads | None = child("host", Offloads)
    guest: Offloads | None = child("guest", Offloads)


@element("rom", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Rom:
    """<rom>: a PCI device's boot code."""

    enabled: bool | None = attribute("@enabled", read=yes_no)
    bar: bool | None = attribute("@bar", read=on_off, write=write_on_off)
    file: str | None = attribute("@file")


@element("teaming")
@dataclass(slots=True, kw_only=True)
class Teaming:
    """<teaming>."""

    type: str = attribute(
        "@type",
        read=one_of("persistent", "transient", unknown="unknown teaming type '{}'"),
        default="",
        empty_is_absent=True,
    )
    persistent: str | None = attribute("@persistent", empty_is_absent=True)


@element("coalesce", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Coalesce:
    """<coalesce>."""

    rx_max: int | None = attribute("rx/frames/@max", read=uint, omit=0)


@element("interface")
@dataclass(slots=True, kw_only=True)
class Interface:
    """<interface>."""

    type: str = attribute("@type", read=TYPES, default="user")
    managed: bool | None = attribute("@managed", read=is_yes)
    trust_guest_rx_filters: bool | None = attribute("@trustGuestRxFilters", read=yes_no)
    mac_element: Mac | None = child("mac", Mac)
    source: InterfaceSource | None = child("source", InterfaceSource)
    ips: list[Ip] = children("ip", Ip)
    routes: list[Route] = children("route", Route)
    port_forwards: list[PortForward] = children("portForward", PortForward)
    script: str | None = attribute("script/@path", empty_is_absent=True)
    down_script: str | None = attribute("downscript/@path")
    vlan: Vlan | None = child("vlan", Vlan)
    virtualport: VirtualPort | None = child("virtualport", VirtualPort)
    bandwidth: Bandwidth | None = child("bandwidth", Bandwidth)
    port_isolated: bool | None = attribute("port/@isolated", read=yes_no, first=True)
    target_dev: str | None = attribute("target/@dev")
    managed_target: bool | None = attribute("target/@managed", read=yes_no)
    guest_dev: str | None = attribute("guest/@dev", empty_is_absent=True)
    guest_actual: str | None = attribute("guest/@actual", only="live")
    model: str | None = attribute("model/@type", read=interface_model, empty_is_absent=True)
    driver: InterfaceDriver | None = child("driver", InterfaceDriver)
    backend_type: str | None = attribute("backend/@type", read=_no_backend, first=True)
    backend_tap: str | None = attribute("backend/@tap", first=True)
    backend_vhost: str | None = attribute("backend/@vhost", first=True)
    backend_log: str | None = attribute("backend/@logFile", first=True)
    filterref: FilterRef | None = child("filterref", FilterRef)
    boot_order: int | None = attribute("boot/@order", read=uint_positive, required=True)
    tune: int | None = text("tune/sndbuf", read=unsigned)
    link_state: str | None = attribute(
        "link/@state",
        read=one_of("up", "down", unknown="unknown interface link state '{}'"),
        empty_is_absent=True,
    )
    mtu: int | None = attribute("mtu/@size", read=uint)
    coalesce: Coalesce | None = child("coalesce", Coalesce)
    teaming: Teaming | None = child("teaming", Teaming, merge=True)
    rom: Rom | None = child("rom", Rom)
    acpi_index: int | None = attribute("acpi/@index", read=uint)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Refuse a <virtualport> of a type that has none, whatever is in it.

        Raises:
            ConfError: "config_unsupported".
        """
        kind = node.get("type", "user")
        if node.find("virtualport") is not None and kind not in SWITCHED and kind in TYPES.values:
            detail = f"<virtualport> element unsupported for <interface type='{kind}'>"
            raise ConfError("config_unsupported", detail, "interface/virtualport")

    def after_read(self) -> None:
        """Keep what the type has.

        Raises:
            ConfError: "xml": a host device is not named.
        """
        inbound = self.bandwidth.inbound if self.bandwidth else None
        if inbound is not None and inbound.floor is not None and self.type != "network":
            detail = "floor attribute is not supported for this config"
            raise ConfError("config_unsupported", detail, "interface/bandwidth/inbound/@floor")
        if self.teaming is not None and not self.teaming.type:
            if self.teaming.persistent is not None:
                detail = "unknown teaming type '(null)'"
                raise ConfError("config_unsupported", detail, "interface/teaming/@type")
            self.teaming = None
        if self.type not in SWITCHED:
            self.virtualport = None
        if self.virtualport is not None and self.type != "network":
            self.virtualport.check_complete()
        if self.type != "hostdev" or not self.managed:
            self.managed = None
        if self.type in WITHOUT_SOURCE:
            self.source = None
        if self.type == "direct" and self.source is not None:
            self.source.mode = self.source.mode or "vepa"
        if self.type == "hostdev" and (self.source is None or self.source.host_address is None):
            raise ConfError("xml", "missing source address type", "interface/source/address")

    @property
    def mac(self) -> str | None:
        """The MAC address."""
        return self.mac_element.address if self.mac_element else None

    def before_write(self, mode: Mode) -> Interface:
        """Drop a target device name that the host chose: it ends with the guest."""
        if not mode.live and self.target_dev and GIVEN_NAMES.fullmatch(self.target_dev):
            return replace(self, target_dev=None)
        return self
