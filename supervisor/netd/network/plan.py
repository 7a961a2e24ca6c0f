"""Plans the steps that start a network. Pure.

Owns: which steps, in which order. May not touch: the host.
Source: libvirt 9.0 formatnetwork; the order is the one in which stock brings a network up.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from conf.network import Forward, ForwardMode, Ip, Network
from supervisor.netd.dnsmasq.config import DnsmasqConfig
from supervisor.netd.firewall import ForwardMode as RuleMode
from supervisor.netd.firewall import NatRange, NetworkFacts
from supervisor.netd.kernel.bandwidth import RateLimits, rate_limits
from supervisor.netd.network import steps
from supervisor.netd.network.steps import Step

DEFAULT_DELAY: Final = 0  # seconds
CENTI: Final = 100  # the kernel counts a bridge's delay in hundredths of a second
#: Modes whose networks create a bridge; the others use devices of the host.
OWN_BRIDGE: Final = (ForwardMode.NONE, ForwardMode.NAT, ForwardMode.ROUTE, ForwardMode.OPEN)
RULES: Final = {
    ForwardMode.NONE: RuleMode.ISOLATED,
    ForwardMode.NAT: RuleMode.NAT,
    ForwardMode.ROUTE: RuleMode.ROUTE,
    ForwardMode.OPEN: RuleMode.OPEN,
}


def mode_of(network: Network) -> ForwardMode:
    """Return the forward mode."""
    return network.forward.mode if network.forward is not None else ForwardMode.NONE


def makes_bridge(network: Network) -> bool:
    """Return whether the network creates its bridge."""
    return mode_of(network) in OWN_BRIDGE


def subnets_of(network: Network) -> list[IPv4Network | IPv6Network]:
    """Return the subnets that the network adds to the host."""
    return [ip.network for ip in network.ips] if makes_bridge(network) else []


def plan_start(network: Network, dnsmasq: DnsmasqConfig | None) -> list[Step]:
    """List the steps that start a network, in order; undoing all of them stops it.

    Args:
        network: the network, with its bridge's name.
        dnsmasq: its configuration; None: it needs no dnsmasq.
    """
    return list(_steps(network, dnsmasq)) if makes_bridge(network) else []


def _steps(network: Network, dnsmasq: DnsmasqConfig | None) -> Iterator[Step]:
    bridge = network.bridge
    assert bridge is not None, "the definition is completed with a bridge"
    assert bridge.name, "the definition is completed with a bridge's name"
    delay = DEFAULT_DELAY if bridge.delay is None else bridge.delay
    yield steps.CreateBridge(
        bridge=bridge.name,
        mac=network.mac or "",
        stp=bridge.stp is not False,
        delay=delay * CENTI,
        vlan_filtering=bridge.mac_table_manager == "libvirt",
    )
    if network.mtu is not None:
        yield steps.SetMtu(bridge.name, network.mtu)
    yield from _ipv6_settings(network, bridge.name)
    for ip in network.ips:
        yield _address(bridge.name, ip)
    facts = firewall_facts(network)
    if facts is not None:
        yield steps.InstallRules(facts)
    yield steps.SetUp(bridge.name)
    for route in network.routes:
        yield steps.AddRoute(
            bridge.name, str(route.network), route.gateway or "", route.metric or 1
        )
    yield from _forwarding(network)
    if dnsmasq is not None:
        # No wait for duplicate address detection of IPv6: on a bridge without a port there is no
        # carrier, so it does not even begin. dnsmasq runs with bind-dynamic: the kernel reports an
        # address that has become usable, and dnsmasq binds it then, as with stock.
        yield steps.WriteDnsmasqConfig(dnsmasq)
        yield steps.StartDnsmasq(dnsmasq)
    limits = traffic_limits(network)
    if limits is not None:
        yield steps.LimitTraffic(bridge.name, limits)


def _ipv6_settings(network: Network, bridge: str) -> Iterator[Step]:
    """Disable IPv6 on a bridge without an IPv6 subnet; never accept guests' advertisements."""
    base = f"ipv6/conf/{bridge}"
    if not any(ip.version == 6 for ip in network.ips):
        yield steps.WriteSetting(f"{base}/disable_ipv6", "1", required=False)
        return
    yield steps.WriteSetting(f"{base}/disable_ipv6", "0", required=True)
    yield steps.WriteSetting(f"{base}/accept_ra", "0", required=True)
    yield steps.WriteSetting(f"{base}/autoconf", "0", required=True)


def _address(bridge: str, ip: Ip) -> Step:
    subnet = ip.network
    broadcast = ""
    if isinstance(subnet, IPv4Network) and subnet.prefixlen < 31:
        broadcast = str(subnet.broadcast_address)
    return steps.AddAddress(bridge, ip.address, subnet.prefixlen, broadcast)


def _forwarding(network: Network) -> Iterator[Step]:
    if mode_of(network) not in (ForwardMode.NAT, ForwardMode.ROUTE, ForwardMode.OPEN):
        return
    versions = {ip.version for ip in network.ips}
    if 4 in versions:
        yield steps.Forward(4)
    if 6 in versions:
        yield steps.Forward(6)


def traffic_limits(network: Network) -> RateLimits | None:
    """Return a network's bandwidth limits; None: unlimited."""
    return rate_limits(network.bandwidth)


def firewall_facts(network: Network) -> NetworkFacts | None:
    """Return what the firewall rules depend on; None: the network has no rules."""
    if not makes_bridge(network) or network.bridge is None:
        return None
    from_dhcp = [ip for ip in network.ips if ip.version == 4 and ip.dhcp is not None]
    return NetworkFacts(
        name=network.name,
        bridge=network.bridge.name or "",
        mode=RULES[mode_of(network)],
        dev=_device(network.forward),
        subnets=tuple(ip.network for ip in network.ips),
        nat=_nat(network.forward),
        dhcp4=bool(from_dhcp),
        tftp=any(ip.tftp_root for ip in from_dhcp),
        ipv6_blocked=not network.ipv6,
    )


def _device(forward: Forward | None) -> str:
    if forward is None:
        return ""
    return forward.dev or next((interface.dev for interface in forward.interfaces), "") or ""


def _nat(forward: Forward | None) -> NatRange:
    nat = forward.nat if forward is not None else None
    if nat is None:
        return NatRange()
    return NatRange(
        first=nat.first,
        last=nat.last,
        first_port=nat.first_port,
        last_port=nat.last_port,
        ipv6=bool(nat.ipv6),
    )
