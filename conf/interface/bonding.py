"""<bond>, <bridge>, <vlan> of a host interface.

Source: libvirt 9.0, the XML of host interfaces (netcf's format).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from conf.errors import ConfError
from conf.interface.attributes import VLAN_TAGS, choice, device, mac, member_type, number
from conf.mapper import attribute, child, children, element
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import unsigned
from conf.types.repeats import first_repeated

BOND_MODES: Final = (  # in the order of the kernel's numbers (linux/if_bonding.h)
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
)
MILLISECONDS: Final = range(1 << 31)
LONGEST_DELAY_S: Final = 30  # that a bridge listens before it forwards
_SECONDS: Final = re.compile(r"[0-9]{1,2}(\.[0-9]{1,6})?")


def seconds(text: str) -> str:
    """Parse a bridge's forward delay, keeping its spelling.

    Raises:
        ConfError: "xml": it is none that the kernel takes.
    """
    if _SECONDS.fullmatch(text) is None or float(text) > LONGEST_DELAY_S:
        detail = f"bridge delay is '{text}'; write seconds from 0 to {LONGEST_DELAY_S}, as 0.5"
        raise ConfError("xml", detail, "interface/bridge/@delay")
    return text


@element("link")
@dataclass(slots=True, kw_only=True)
class LinkState:
    """<link>: speed and state."""

    speed: int | None = attribute("@speed", read=unsigned, omit=0)  # megabits a second
    state: str | None = attribute(
        "@state",
        read=one_of("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"),
    )


@element("miimon")
@dataclass(slots=True, kw_only=True)
class MiiMonitor:
    """<miimon>: monitoring of the carrier; milliseconds."""

    freq: int | None = attribute(
        "@freq", read=number("bond interface miimon freq", MILLISECONDS[1:])
    )
    downdelay: int | None = attribute(
        "@downdelay", read=number("bond interface miimon downdelay", MILLISECONDS), omit=0
    )
    updelay: int | None = attribute(
        "@updelay", read=number("bond interface miimon updelay", MILLISECONDS), omit=0
    )
    carrier: str | None = attribute(
        "@carrier", read=choice("mii bonding carrier", "ioctl", "netif")
    )

    def after_read(self) -> None:
        """Refuse a frequency of 0.

        Raises:
            ConfError: "xml".
        """
        if self.freq is None:
            detail = "bond interface miimon freq missing or invalid"
            raise ConfError("xml", detail, "interface/bond/miimon")


@element("arpmon")
@dataclass(slots=True, kw_only=True)
class ArpMonitor:
    """<arpmon>: monitoring by ARP requests; milliseconds."""

    interval: int | None = attribute(
        "@interval", read=number("bond interface arpmon interval", MILLISECONDS[1:])
    )
    target: IPv4Address | None = attribute("@target", read=IPv4Address)
    validate: str | None = attribute(
        "@validate", read=choice("arp bonding validate", "active", "backup", "all")
    )

    def after_read(self) -> None:
        """Refuse an interval of 0 and a missing target.

        Raises:
            ConfError: "xml".
        """
        path = "interface/bond/arpmon"
        if self.interval is None:
            raise ConfError("xml", "bond interface arpmon interval missing or invalid", path)
        if self.target is None:
            raise ConfError("xml", "bond interface arpmon target missing", path)


@element("interface")
@dataclass(slots=True, kw_only=True)
class BondMember:
    """<interface> in a <bond>."""

    type: str = attribute("@type", read=member_type("ethernet"), required=True)
    name: str | None = attribute("@name", read=device)
    link: LinkState | None = child("link", LinkState, only="live")
    mac: str | None = attribute("mac/@address", read=mac)

    def after_read(self) -> None:
        """Refuse a member without a name.

        Raises:
            ConfError: "xml".
        """
        require_name(self.name)


@element("bond")
@dataclass(slots=True, kw_only=True)
class Bond:
    """<bond>: links aggregated to one."""

    mode: str | None = attribute("@mode", read=choice("bonding mode", *BOND_MODES))
    miimon: MiiMonitor | None = child("miimon", MiiMonitor)
    arpmon: ArpMonitor | None = child("arpmon", ArpMonitor)
    members: list[BondMember] = children("interface", BondMember)

    def after_read(self) -> None:
        """Keep the first of two monitors, as libvirt does; refuse repeated members.

        Raises:
            ConfError: "xml".
        """
        if self.miimon is not None:
            self.arpmon = None
        refuse_twice([member.name for member in self.members])


@element("vlan")
@dataclass(slots=True, kw_only=True)
class VlanLink:
    """<vlan>: the tag and the parent link."""

    tag: int | None = attribute("@tag", read=number("tag of <vlan>", VLAN_TAGS))
    parent: str | None = attribute("interface/@name", read=device)

    def after_read(self) -> None:
        """Refuse a missing tag or parent.

        Raises:
            ConfError: "xml".
        """
        if self.tag is None:
            raise ConfError("xml", "vlan interface misses the tag attribute", "interface/vlan")
        if self.parent is None:
            raise ConfError("xml", "vlan interface misses name attribute", "interface/vlan")


@element("interface")
@dataclass(slots=True, kw_only=True)
class BridgeMember:
    """<interface> in a <bridge>."""

    type: str = attribute("@type", read=member_type("ethernet", "bond", "vlan"), required=True)
    name: str | None = attribute("@name", read=device)
    bond: Bond | None = child("bond", Bond)
    vlan: VlanLink | None = child("vlan", VlanLink)
    link: LinkState | None = child("link", LinkState, only="live")
    mac: str | None = attribute("mac/@address", read=mac)

    def after_read(self) -> None:
        """Refuse a missing name, or a missing element of the type.

        Raises:
            ConfError: "xml".
        """
        require_name(self.name)
        require_part(self.type, bond=self.bond, vlan=self.vlan)


@element("bridge")
@dataclass(slots=True, kw_only=True)
class HostBridge:
    """<bridge>: its ports and STP settings."""

    stp: bool | None = attribute("@stp", read=on_off, write=write_on_off)
    delay: str | None = attribute("@delay", read=seconds)
    members: list[BridgeMember] = children("interface", BridgeMember)

    def after_read(self) -> None:
        """Refuse repeated ports.

        Raises:
            ConfError: "xml".
        """
        refuse_twice([member.name for member in self.members])

    @property
    def delay_s(self) -> float:
        """Return the forward delay in seconds."""
        return float(self.delay or 0)


def require_name(name: str | None) -> None:
    """Refuse an interface without a name.

    Raises:
        ConfError: "xml".
    """
    if name is None:
        raise ConfError("xml", "interface has no name", "interface/@name")


def require_part(type: str, **parts: object) -> None:
    """Refuse a missing element of the type, and elements of other types.

    Raises:
        ConfError: "xml".
    """
    if type in parts and parts[type] is None:
        raise ConfError("xml", f"{type} interface misses the {type} element", f"interface/{type}")
    other = next((name for name, part in parts.items() if name != type and part is not None), None)
    if other is not None:
        detail = f"interface of type '{type}' has an element <{other}>"
        raise ConfError("xml", detail, f"interface/{other}")


def refuse_twice(names: list[str | None]) -> None:
    """Refuse a link that is listed more than once.

    Raises:
        ConfError: "xml".
    """
    twice = first_repeated(names)
    if twice is not None:
        raise ConfError("xml", f"interface '{twice}' is listed more than once", "interface")
