"""<network>.

Owns: the model. May not touch: files, links. Nothing is completed here.
Source: libvirt 9.0 formatnetwork; the order of elements is that of the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from conf.domain.metadata import drop_repeated_namespaces
from conf.errors import ConfError
from conf.mapper import attribute, child, children, element, text, verbatim
from conf.network.addressing import Ip, Route
from conf.network.dns import Dns
from conf.network.forward import Forward, ForwardMode
from conf.types.bandwidth import Bandwidth
from conf.types.bool import write_on_off, yes_no
from conf.types.enum import one_of
from conf.types.integer import unsigned, unsigned_of
from conf.types.mac import unicast_mac
from conf.types.uuid import uuid_reader
from conf.types.virtual_port import VirtualPort
from conf.types.vlan import Vlan


def _unless_off(text: str) -> bool:
    """Read the spanning tree switch: libvirt compares with "off" alone."""
    return text != "off"


def _is_yes(text: str) -> bool:
    """Read a switch that libvirt compares with "yes" alone, in any case."""
    return text.lower() == "yes"


@element("bridge")
@dataclass(slots=True, kw_only=True)
class Bridge:
    """<bridge>."""

    name: str | None = attribute("@name")
    zone: str | None = attribute("@zone", empty_is_absent=True)
    stp: bool | None = attribute("@stp", read=_unless_off, write=write_on_off)
    delay: int | None = attribute("@delay", read=unsigned_of(64), empty_is_absent=True)  # seconds
    mac_table_manager: str | None = attribute(
        "@macTableManager", read=one_of("kernel", "libvirt"), empty_is_absent=True
    )


@element("domain")
@dataclass(slots=True, kw_only=True)
class DnsDomain:
    """<domain>: the DNS domain of guests."""

    name: str | None = attribute("@name")
    local_only: bool | None = attribute("@localOnly", read=yes_no)


@element("portgroup")
@dataclass(slots=True, kw_only=True)
class PortGroup:
    """<portgroup>: settings shared by a group of interfaces."""

    name: str = attribute("@name", default="")
    default: bool = attribute("@default", read=_is_yes, default=False, omit=False)
    trust_guest_rx_filters: bool | None = attribute("@trustGuestRxFilters", read=yes_no)
    vlan: Vlan | None = child("vlan", Vlan)
    virtualport: VirtualPort | None = child("virtualport", VirtualPort)
    bandwidth: Bandwidth | None = child("bandwidth", Bandwidth)

    def after_read(self) -> None:
        """Drop empty elements."""
        self.bandwidth = tidy_bandwidth(self.bandwidth)
        tidy_vlan(self.vlan)


@element("option")
@dataclass(slots=True, kw_only=True)
class DnsmasqOption:
    """<dnsmasq:option>."""

    value: str = attribute("@value", default="")


@element("network")
@dataclass(slots=True, kw_only=True)
class Network:
    """<network>."""

    connections: int | None = attribute("@connections", read=unsigned, only="live", omit=0)
    ipv6: bool = attribute("@ipv6", read=yes_no, default=False, omit=False, empty_is_absent=True)
    trust_guest_rx_filters: bool | None = attribute("@trustGuestRxFilters", read=yes_no)
    name: str = text("name", default="")
    uuid: str | None = text("uuid", read=uuid_reader("internal", "network/uuid"), omit="")
    metadata: str | None = verbatim("metadata", prune=drop_repeated_namespaces)
    forward: Forward | None = child("forward", Forward)
    bridge: Bridge | None = child("bridge", Bridge)
    mtu: int | None = attribute("mtu/@size", read=unsigned, omit=0, empty_is_absent=True)
    mac: str | None = attribute("mac/@address", read=unicast_mac, empty_is_absent=True, first=True)
    domain: DnsDomain | None = child("domain", DnsDomain)
    dns: Dns | None = child("dns", Dns)
    vlan: Vlan | None = child("vlan", Vlan)
    bandwidth: Bandwidth | None = child("bandwidth", Bandwidth)
    port_isolated: bool | None = attribute("port/@isolated", read=yes_no, first=True)
    ips: list[Ip] = children("ip", Ip)
    routes: list[Route] = children("route", Route)
    virtualport: VirtualPort | None = child("virtualport", VirtualPort)
    portgroups: list[PortGroup] = children("portgroup", PortGroup)
    options: list[DnsmasqOption] = children("dnsmasq:options/dnsmasq:option", DnsmasqOption)

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Refuse a network without a name, whatever else is wrong with it.

        Raises:
            ConfError: "no_name".
        """
        if not node.findtext("name"):
            raise ConfError("no_name", "<network>: it needs a <name>", "network/name")

    def after_read(self) -> None:
        """Drop empty elements, as libvirt does."""
        self.mtu = self.mtu or None
        if self.forward is not None and self.forward.mode is ForwardMode.NONE:
            self.forward = None
        if self.domain is not None and self.domain.name is None:
            self.domain = None
        if self.dns == Dns():
            self.dns = None
        self.bandwidth = tidy_bandwidth(self.bandwidth)
        tidy_vlan(self.vlan)

    @property
    def dnsmasq_options(self) -> list[str]:
        """Return the additional lines for dnsmasq's configuration."""
        return [option.value for option in self.options]


def tidy_bandwidth(bandwidth: Bandwidth | None) -> Bandwidth | None:
    """Drop limits of 0; None: no limit is left."""
    if bandwidth is None:
        return None
    for name in ("inbound", "outbound"):
        rate = getattr(bandwidth, name)
        if rate is not None and rate.average == 0 and not rate.floor:
            setattr(bandwidth, name, None)
    return bandwidth if bandwidth.inbound is not None or bandwidth.outbound is not None else None


def tidy_vlan(vlan: Vlan | None) -> None:
    """Set trunk='yes' for several tags, as libvirt does."""
    if vlan is None:
        return
    if len(vlan.tags) > 1:
        vlan.trunk = True if vlan.trunk is None else vlan.trunk
    elif vlan.trunk is False:
        vlan.trunk = None
