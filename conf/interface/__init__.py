"""<interface> of the host (virInterface): models, parser, formatter. Pure.

Owns: the models. May not touch: links, files.
"""

from __future__ import annotations

from conf.interface.addressing import DhcpClient, InterfaceIp, Protocol
from conf.interface.bonding import (
    BOND_MODES,
    ArpMonitor,
    Bond,
    BondMember,
    BridgeMember,
    HostBridge,
    LinkState,
    MiiMonitor,
    VlanLink,
)
from conf.interface.model import Interface, InterfaceType
from conf.mapper import Mode, parse, write

__all__ = [
    "BOND_MODES",
    "ArpMonitor",
    "Bond",
    "BondMember",
    "BridgeMember",
    "DhcpClient",
    "HostBridge",
    "Interface",
    "InterfaceIp",
    "InterfaceType",
    "LinkState",
    "MiiMonitor",
    "Protocol",
    "VlanLink",
    "format_interface",
    "parse_interface",
]


def parse_interface(xml: bytes | str) -> Interface:
    """Parse and validate an interface.

    Raises:
        ConfError: "xml": invalid; "xml_detail": malformed XML.
    """
    return parse(Interface, xml)


def format_interface(interface: Interface, *, inactive: bool) -> str:
    """Format an interface; `inactive`: without the link's state."""
    return write(interface, Mode(live=not inactive, secure=False))
