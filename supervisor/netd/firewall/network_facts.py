"""The properties of a network that its firewall rules depend on.

Owns: the boundary between a network's definition and its rules. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Subnet = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

FIRST_PORT: Final = 1024  # masquerading leaves the privileged ports to the host
LAST_PORT: Final = 65535


class ForwardMode(StrEnum):
    """<forward mode>; networks on a bridge or device of the host have no rules."""

    ISOLATED = "isolated"
    NAT = "nat"
    ROUTE = "route"
    OPEN = "open"  # no rules: the administrator writes them


@dataclass(frozen=True, slots=True, kw_only=True)
class NatRange:
    """<nat>: the source addresses and ports of translated connections."""

    first: Address | None = None  # None: the address of the device that they leave by
    last: Address | None = None  # None: `first` alone
    first_port: int = FIRST_PORT
    last_port: int = LAST_PORT
    ipv6: bool = False  # translate IPv6 as well, instead of routing it


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """The properties of one network."""

    name: str
    bridge: str
    mode: ForwardMode
    dev: str = ""  # <forward dev>: the one way out; "": any
    subnets: tuple[Subnet, ...] = ()  # of each <ip>, in the XML's order
    nat: NatRange = NatRange()
    dhcp4: bool = False  # DHCP hands out addresses of some IPv4 subnet
    tftp: bool = False  # the IPv4 subnet that has DHCP has <tftp>, too
    ipv6_blocked: bool = True  # False for <network ipv6='yes'> without an IPv6 <ip>: guests may
    # reach each other by IPv6, but not the outside

    def v6(self) -> bool:
        """Return whether the network has an IPv6 subnet."""
        return any(subnet.version == 6 for subnet in self.subnets)
