"""The steps that start a network, as data. Pure.

Owns: the kinds of step, as data. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.netd.dnsmasq.config import DnsmasqConfig
from supervisor.netd.firewall import NetworkFacts
from supervisor.netd.kernel.bandwidth import RateLimits


@dataclass(frozen=True, slots=True)
class CreateBridge:
    """Create the network's bridge."""

    bridge: str
    mac: str
    stp: bool
    delay: int  # hundredths of a second
    vlan_filtering: bool = False


@dataclass(frozen=True, slots=True)
class SetMtu:
    """Set the MTU of a device."""

    device: str
    mtu: int


@dataclass(frozen=True, slots=True)
class WriteSetting:
    """Write a sysctl of a device; the kernel drops it with the device."""

    key: str  # below /proc/sys/net
    value: str
    required: bool = True  # False: a kernel that has no such setting needs none


@dataclass(frozen=True, slots=True)
class Forward:
    """Enable IP forwarding. Not undone: other networks may rely on it."""

    family: int  # 4 or 6


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Add an address to a device."""

    device: str
    address: str
    prefix: int
    broadcast: str  # "": none


@dataclass(frozen=True, slots=True)
class SetUp:
    """Bring a device up."""

    device: str


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Add a route through a gateway."""

    device: str
    destination: str  # "ADDRESS/PREFIX"
    gateway: str
    metric: int


@dataclass(frozen=True, slots=True)
class InstallRules:
    """Add the network's packet filter rules."""

    facts: NetworkFacts


@dataclass(frozen=True, slots=True)
class WriteDnsmasqConfig:
    """Write the files that the network's dnsmasq reads."""

    config: DnsmasqConfig


@dataclass(frozen=True, slots=True)
class StartDnsmasq:
    """Start the network's DHCP and DNS server."""

    config: DnsmasqConfig


@dataclass(frozen=True, slots=True)
class LimitTraffic:
    """Set the bandwidth limits of a device."""

    device: str
    limits: RateLimits


Step = (
    CreateBridge
    | SetMtu
    | WriteSetting
    | Forward
    | AddAddress
    | SetUp
    | AddRoute
    | InstallRules
    | WriteDnsmasqConfig
    | StartDnsmasq
    | LimitTraffic
)
