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
from conf.interface.model import HostInterface, InterfaceType
from conf.mapper import Mode, parse, write

__all__ = [
    "BOND_MODES",
    "ArpMonitor",
    "Bond",
    "BondMember",
    "BridgeMember",
    "DhcpClient",
    "HostBridge",
    "HostInterface",
    "InterfaceIp",
    "InterfaceType",
    "LinkState",
    "MiiMonitor",
    "Protocol",
    "VlanLink",
    "format_interface",
    "parse_interface",
]


def parse_interface(xml: bytes | str) -> HostInterface:
    """Parse and validate an interface.

    Raises:
        ConfError: "xml": invalid; "xml_detail": malformed XML.
    """
    return parse(HostInterface, xml)


def format_interface(interface: HostInterface, *, inactive: bool) -> str:
    """Format an interface; `inactive`: without the link's state."""
    return write(interface, Mode(live=not inactive, secure=False))
