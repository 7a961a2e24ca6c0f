"""<networkport>: the attachment of an interface to a network.

Source: libvirt 9.0 formatnetworkport.
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.mapper import Mode, attribute, child, element, parse, text, write
from conf.types.bandwidth import Bandwidth
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import uint
from conf.types.mac import unicast_mac
from conf.types.uuid import uuid_reader
from conf.types.virtual_port import VirtualPort
from conf.types.vlan import Vlan


@element("plug")
@dataclass(slots=True, kw_only=True)
class Plug:
    """<plug>: the bridge or device that the port uses."""

    type: str = attribute("@type", read=one_of("network", "bridge", "direct", "hostdev-pci"))
    bridge: str | None = attribute("@bridge")
    mac_table_manager: str | None = attribute("@macTableManager", read=one_of("kernel", "libvirt"))
    dev: str | None = attribute("@dev")
    mode: str | None = attribute("@mode", read=one_of("bridge", "private", "vepa", "passthrough"))


@element("bandwidth")
@dataclass(slots=True, kw_only=True)
class PortBandwidth(Bandwidth):
    """<bandwidth> of a port; a port with a floor has a class of its network's traffic."""

    class_id: int | None = attribute("@classID", read=uint, omit=0)


@element("networkport")
@dataclass(slots=True, kw_only=True)
class NetworkPort:
    """<networkport>."""

    uuid: str | None = text("uuid", read=uuid_reader("internal", "networkport/uuid"))
    owner_name: str | None = text("owner/name")
    owner_uuid: str | None = text("owner/uuid", read=uuid_reader("internal", "networkport/uuid"))
    group: str | None = text("group")
    mac: str | None = attribute("mac/@address", read=unicast_mac)
    virtualport: VirtualPort | None = child("virtualport", VirtualPort)
    bandwidth: PortBandwidth | None = child("bandwidth", PortBandwidth)
    vlan: Vlan | None = child("vlan", Vlan)
    port_isolated: bool | None = attribute("port/@isolated", read=yes_no)
    rx_filters_trusted: bool | None = attribute("rxfilters/@trustGuest", read=yes_no)
    plug: Plug | None = child("plug", Plug)


def port_bandwidth(bandwidth: Bandwidth | None) -> PortBandwidth | None:
    """Return an interface's limits as those of its port."""
    if bandwidth is None:
        return None
    return PortBandwidth(inbound=bandwidth.inbound, outbound=bandwidth.outbound)


def parse_port(xml: bytes | str) -> NetworkPort:
    """Parse a port.

    Raises:
        ConfError: it is none; the kind is libvirt's code.
    """
    return parse(NetworkPort, xml)


def format_port(port: NetworkPort) -> str:
    """Format a port."""
    return write(port, Mode(live=True, secure=False))
