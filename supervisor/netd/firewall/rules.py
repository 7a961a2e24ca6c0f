"""The iptables rules of a network, in libvirt 9.0's layout.

Owns: which rules, in which chain, in which order. Pure.
Source: what `iptables -S` shows on hosts of libvirt 9.0.

Each rule goes to the head of its chain, so the last in the list is the first that a packet meets,
and a network that starts later comes before those that run. Options are in the order of
iptables-save.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from supervisor.netd.firewall.network_facts import ForwardMode, NetworkFacts, Subnet


class Family(Enum):
    """The address family: iptables or ip6tables."""

    V4 = 4
    V6 = 6


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """One rule of a network."""

    family: Family
    table: str  # "filter", "nat" or "mangle"
    chain: str
    args: tuple[str, ...]  # the arguments after `-A CHAIN`
    optional: bool = False  # a kernel without it is good enough


@dataclass(frozen=True, slots=True)
class Chain:
    """One of libvirt's chains, and the built-in chain that jumps to it."""

    table: str
    name: str
    hook: str


# Each jump goes to the head of its hook's chain, in this order: FWX is met before FWI and FWO.
CHAINS: Final = (
    Chain("filter", "LIBVIRT_INP", "INPUT"),
    Chain("filter", "LIBVIRT_OUT", "OUTPUT"),
    Chain("filter", "LIBVIRT_FWO", "FORWARD"),
    Chain("filter", "LIBVIRT_FWI", "FORWARD"),
    Chain("filter", "LIBVIRT_FWX", "FORWARD"),
    Chain("nat", "LIBVIRT_PRT", "POSTROUTING"),
    Chain("mangle", "LIBVIRT_PRT", "POSTROUTING"),
)
REJECT: Final = {
    Family.V4: ("-j", "REJECT", "--reject-with", "icmp-port-unreachable"),
    Family.V6: ("-j", "REJECT", "--reject-with", "icmp6-port-unreachable"),
}
# Link-local multicast and broadcast stay on the bridge and are not translated.
UNTRANSLATED: Final = {
    Family.V4: ("255.255.255.255/32", "224.0.0.0/24"),
    Family.V6: ("ff02::/16",),
}


def plan(facts: NetworkFacts) -> list[FirewallRule]:
    """List a network's rules in the order in which they are inserted. Pure."""
    if facts.mode is ForwardMode.OPEN:
        return []
    rules = [*_services(facts), *_barrier(Family.V4, facts)]
    if facts.v6():
        rules += [*_barrier(Family.V6, facts), *_services6(facts)]
    elif not facts.ipv6_blocked:
        rules += _barrier(Family.V6, facts)
    for subnet in facts.subnets:
        rules += _subnet(facts, subnet)
    if facts.dhcp4:
        rules.append(_checksum(facts))
    return rules


def _services(facts: NetworkFacts) -> Iterator[FirewallRule]:
    """Accept DHCP, DNS and TFTP between guests and dnsmasq."""
    bridge = facts.bridge
    yield _opened(Family.V4, "LIBVIRT_INP", bridge, "tcp", 67)
    yield _opened(Family.V4, "LIBVIRT_INP", bridge, "udp", 67)
    yield _opened(Family.V4, "LIBVIRT_OUT", bridge, "tcp", 68)
    yield _opened(Family.V4, "LIBVIRT_OUT", bridge, "udp", 68)
    yield from _names(Family.V4, bridge)
    if facts.tftp:
        yield _opened(Family.V4, "LIBVIRT_INP", bridge, "udp", 69)
        yield _opened(Family.V4, "LIBVIRT_OUT", bridge, "udp", 69)


def _services6(facts: NetworkFacts) -> Iterator[FirewallRule]:
    yield from _names(Family.V6, facts.bridge)
    yield _opened(Family.V6, "LIBVIRT_INP", facts.bridge, "udp", 547)
    yield _opened(Family.V6, "LIBVIRT_OUT", facts.bridge, "udp", 546)


def _names(family: Family, bridge: str) -> Iterator[FirewallRule]:
    for chain in ("LIBVIRT_INP", "LIBVIRT_OUT"):
        for protocol in ("tcp", "udp"):
            yield _opened(family, chain, bridge, protocol, 53)


def _opened(family: Family, chain: str, bridge: str, protocol: str, port: int) -> FirewallRule:
    side = "-i" if chain == "LIBVIRT_INP" else "-o"
    match = ("-p", protocol, "-m", protocol, "--dport", str(port))
    return FirewallRule(family, "filter", chain, (side, bridge, *match, "-j", "ACCEPT"))


def _barrier(family: Family, facts: NetworkFacts) -> Iterator[FirewallRule]:
    """Reject forwarded packets except between guests; exceptions are inserted before."""
    bridge = facts.bridge
    yield FirewallRule(family, "filter", "LIBVIRT_FWO", ("-i", bridge, *REJECT[family]))
    yield FirewallRule(family, "filter", "LIBVIRT_FWI", ("-o", bridge, *REJECT[family]))
    yield FirewallRule(
        family, "filter", "LIBVIRT_FWX", ("-i", bridge, "-o", bridge, "-j", "ACCEPT")
    )


def _subnet(facts: NetworkFacts, subnet: Subnet) -> list[FirewallRule]:
    if facts.mode is ForwardMode.ISOLATED:
        return []
    if facts.mode is ForwardMode.NAT and (subnet.version == 4 or facts.nat.ipv6):
        return [*_passage(facts, subnet, answers_only=True), *_translation(facts, subnet)]
    return list(_passage(facts, subnet, answers_only=False))


def _passage(facts: NetworkFacts, subnet: Subnet, *, answers_only: bool) -> Iterator[FirewallRule]:
    family = Family(subnet.version)
    dev, accept = facts.dev, ("-j", "ACCEPT")
    out = ("-s", str(subnet), "-i", facts.bridge, *(("-o", dev) if dev else ()))
    back = ("-d", str(subnet), *(("-i", dev) if dev else ()), "-o", facts.bridge)
    states = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED") if answers_only else ()
    yield FirewallRule(family, "filter", "LIBVIRT_FWO", (*out, *accept))
    yield FirewallRule(family, "filter", "LIBVIRT_FWI", (*back, *states, *accept))


def _translation(facts: NetworkFacts, subnet: Subnet) -> Iterator[FirewallRule]:
    family, source = Family(subnet.version), ("-s", str(subnet))
    device = ("-o", facts.dev) if facts.dev else ()
    for protocol in ("", "udp", "tcp"):
        match = ("-p", protocol) if protocol else ()
        args = (*source, "!", "-d", str(subnet), *device, *match)
        target = _target(facts, subnet, ports=bool(protocol))
        yield FirewallRule(family, "nat", "LIBVIRT_PRT", (*args, *target))
    for group in UNTRANSLATED[family]:
        args = (*source, "-d", group, *device, "-j", "RETURN")
        yield FirewallRule(family, "nat", "LIBVIRT_PRT", args)


def _target(facts: NetworkFacts, subnet: Subnet, *, ports: bool) -> tuple[str, ...]:
    nat = facts.nat
    span = f"{nat.first_port}-{nat.last_port}" if nat.first_port < nat.last_port else ""
    if not span and ports:
        span = str(nat.first_port)
    if nat.first is None or nat.first.version != subnet.version:
        return ("-j", "MASQUERADE", *(("--to-ports", span) if ports else ()))
    single = nat.last is None or nat.last == nat.first
    source = str(nat.first) if single else f"{nat.first}-{nat.last}"
    if ports:
        source = f"[{source}]:{span}" if subnet.version == 6 else f"{source}:{span}"
    return ("-j", "SNAT", "--to-source", source)


def _checksum(facts: NetworkFacts) -> FirewallRule:
    """Fill in UDP checksums of DHCP replies: some clients drop packets with offloaded checksums."""
    match = ("-o", facts.bridge, "-p", "udp", "-m", "udp", "--dport", "68")
    args = (*match, "-j", "CHECKSUM", "--checksum-fill")
    return FirewallRule(Family.V4, "mangle", "LIBVIRT_PRT", args, optional=True)
