"""<interface>: an interface of the host.

Owns: the model. May not touch: links, files.
Source: libvirt 9.0, the XML of host interfaces (netcf's format); the order is stock's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from conf.errors import ConfError
from conf.interface.addressing import Protocol
from conf.interface.attributes import LARGEST_MTU, choice, device, mac, number
from conf.interface.bonding import (
    Bond,
    HostBridge,
    LinkState,
    VlanLink,
    refuse_twice,
    require_name,
    require_part,
)
from conf.mapper import attribute, child, children, element


class InterfaceType(StrEnum):
    """The type of a host interface."""

    ETHERNET = "ethernet"
    BRIDGE = "bridge"
    BOND = "bond"
    VLAN = "vlan"


@element("interface")
@dataclass(slots=True, kw_only=True)
class HostInterface:
    """<interface>."""

    type: InterfaceType = attribute("@type", read=InterfaceType, required=True)
    name: str | None = attribute("@name", read=device)
    start_mode: str | None = attribute(
        "start/@mode", read=choice("interface startmode", "onboot", "hotplug", "none")
    )
    mtu: int | None = attribute("mtu/@size", read=number("mtu size", range(LARGEST_MTU)), omit=0)
    protocols: list[Protocol] = children("protocol", Protocol)
    bridge: HostBridge | None = child("bridge", HostBridge)
    bond: Bond | None = child("bond", Bond)
    vlan: VlanLink | None = child("vlan", VlanLink)
    link: LinkState | None = child("link", LinkState, only="live")
    mac: str | None = attribute("mac/@address", read=mac)

    def after_read(self) -> None:
        """Refuse contradictions.

        Raises:
            ConfError: "xml".
        """
        require_name(self.name)
        if self.link is not None and not self.link.state and not self.link.speed:
            self.link = None
        require_part(self.type.value, bridge=self.bridge, bond=self.bond, vlan=self.vlan)
        refuse_twice([self.name, *self.members()])
        if self.name in self.below():
            detail = f"interface '{self.name}' cannot be made of itself"
            raise ConfError("xml", detail, "interface/@name")

    def members(self) -> Iterator[str]:
        """Yield the links in this interface and in its members."""
        yield from _names(self.bond)
        for member in self.bridge.members if self.bridge else ():
            yield member.name or ""
            yield from _names(member.bond)

    def below(self) -> list[str]:
        """Return the links that this interface depends on."""
        vlans = [member.vlan for member in self.bridge.members] if self.bridge else [self.vlan]
        parents = [vlan.parent or "" for vlan in vlans if vlan is not None]
        return list(dict.fromkeys([*self.members(), *parents]))

    @property
    def known_name(self) -> str:
        """Return the name, which parsing requires.

        Raises:
            ConfError: "xml": it was made without one.
        """
        if self.name is None:
            raise ConfError("xml", "interface has no name", "interface/@name")
        return self.name


def _names(bond: Bond | None) -> Iterator[str]:
    """Yield the members of a bond."""
    yield from (member.name or "" for member in (bond.members if bond is not None else ()))
