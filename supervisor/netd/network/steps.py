"""What starting a network consists of: steps that can each be undone.

Owns: the kinds of step, as data. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.netd.dnsmasq.config import DnsmasqConfig
from supervisor.netd.firewall import NetworkFacts
from supervisor.netd.kernel.bandwidth import RateLimits


@dataclass(frozen=True, slots=True)
class CreateBridge:
    """Make the network's bridge."""

    bridge: str
    mac: str
    stp: bool
    delay: int  # hundredths of a second
    vlan_filtering: bool = False


@dataclass(frozen=True, slots=True)
class SetMtu:
    """Make a device's packets as large as the network says."""

    device: str
    mtu: int


@dataclass(frozen=True, slots=True)
class WriteSetting:
    """Change a setting of the kernel for a device of ours; it goes with the device."""

    key: str  # below /proc/sys/net
    value: str
    required: bool = True  # False: a kernel that has no such setting needs none


@dataclass(frozen=True, slots=True)
class Forward:
    """Let the host pass packets on; it is never taken back, for others may rely on it by then."""

    family: int  # 4 or 6


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Give a device an address."""

    device: str
    address: str
    prefix: int
    broadcast: str  # "": none


@dataclass(frozen=True, slots=True)
class SetUp:
    """Let a device carry packets."""

    device: str


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Send what goes to a subnet by a gateway on a device."""

    device: str
    destination: str  # "ADDRESS/PREFIX"
    gateway: str
    metric: int


@dataclass(frozen=True, slots=True)
class WaitForAddresses:
    """Wait until nobody else is known to have a device's IPv6 addresses: one can listen then."""

    device: str


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
    """Limit a device's traffic."""

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
    | WaitForAddresses
    | InstallRules
    | WriteDnsmasqConfig
    | StartDnsmasq
    | LimitTraffic
)
