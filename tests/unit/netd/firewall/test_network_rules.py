"""The iptables rules of a network, in evaluation order, compared with libvirt 9.0."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from supervisor.netd.firewall import ForwardMode, NatRange, NetworkFacts
from supervisor.netd.firewall.nft_plan import plan_install as nft_install
from supervisor.netd.firewall.nft_plan import plan_removal as nft_removal
from supervisor.netd.firewall.rules import Family, plan

HOME = NetworkFacts(
    name="default",
    bridge="virbr0",
    mode=ForwardMode.NAT,
    subnets=(IPv4Network("192.168.122.0/24"),),
    dhcp4=True,
)
SIX = IPv6Network("fd00:1::/64")


def met(facts: NetworkFacts, table: str, chain: str, family: Family = Family.V4) -> list[str]:
    """The rules of a chain as a packet meets them."""
    rules = [one for one in plan(facts) if (one.table, one.chain) == (table, chain)]
    return [" ".join(one.args) for one in reversed(rules) if one.family is family]


def test_nat_network_accepts_dns_and_dhcp() -> None:
    assert met(HOME, "filter", "LIBVIRT_INP") == [
        "-i virbr0 -p udp -m udp --dport 53 -j ACCEPT",
        "-i virbr0 -p tcp -m tcp --dport 53 -j ACCEPT",
        "-i virbr0 -p udp -m udp --dport 67 -j ACCEPT",
        "-i virbr0 -p tcp -m tcp --dport 67 -j ACCEPT",
    ]
    assert met(HOME, "filter", "LIBVIRT_OUT")[2:] == [
        "-o virbr0 -p udp -m udp --dport 68 -j ACCEPT",
        "-o virbr0 -p tcp -m tcp --dport 68 -j ACCEPT",
    ]


def test_nat_accepts_replies_and_outgoing_packets() -> None:
    assert met(HOME, "filter", "LIBVIRT_FWI") == [
        "-d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-o virbr0 -j REJECT --reject-with icmp-port-unreachable",
    ]
    assert met(HOME, "filter", "LIBVIRT_FWO") == [
        "-s 192.168.122.0/24 -i virbr0 -j ACCEPT",
        "-i virbr0 -j REJECT --reject-with icmp-port-unreachable",
    ]
    assert met(HOME, "filter", "LIBVIRT_FWX") == ["-i virbr0 -o virbr0 -j ACCEPT"]


def test_nat_excludes_multicast_and_broadcast() -> None:
    other = "-s 192.168.122.0/24 ! -d 192.168.122.0/24"
    assert met(HOME, "nat", "LIBVIRT_PRT") == [
        "-s 192.168.122.0/24 -d 224.0.0.0/24 -j RETURN",
        "-s 192.168.122.0/24 -d 255.255.255.255/32 -j RETURN",
        f"{other} -p tcp -j MASQUERADE --to-ports 1024-65535",
        f"{other} -p udp -j MASQUERADE --to-ports 1024-65535",
        f"{other} -j MASQUERADE",
    ]
    assert met(HOME, "mangle", "LIBVIRT_PRT") == [
        "-o virbr0 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill"
    ]


def test_an_address_range_makes_source_nat() -> None:
    span = NatRange(first=IPv4Address("1.2.3.4"), last=IPv4Address("1.2.3.9"), first_port=500)
    facts = replace(HOME, nat=replace(span, last_port=1000))
    targets = [rule.partition(" -j ")[2] for rule in met(facts, "nat", "LIBVIRT_PRT")[2:]]
    ported = "SNAT --to-source 1.2.3.4-1.2.3.9:500-1000"
    assert targets == [ported, ported, "SNAT --to-source 1.2.3.4-1.2.3.9"]


def test_single_nat_address() -> None:
    facts = replace(HOME, nat=NatRange(first=IPv4Address("1.2.3.4")))
    assert met(facts, "nat", "LIBVIRT_PRT")[-1].endswith("-j SNAT --to-source 1.2.3.4")


def test_ipv6_is_routed_without_nat_ipv6() -> None:
    routed = replace(HOME, subnets=(*HOME.subnets, SIX))
    assert met(routed, "nat", "LIBVIRT_PRT", Family.V6) == []
    assert (
        met(routed, "filter", "LIBVIRT_FWI", Family.V6)[0] == "-d fd00:1::/64 -o virbr0 -j ACCEPT"
    )
    translated = replace(routed, nat=NatRange(ipv6=True))
    assert met(translated, "nat", "LIBVIRT_PRT", Family.V6)[0].endswith("-d ff02::/16 -j RETURN")
    assert "--ctstate" in met(translated, "filter", "LIBVIRT_FWI", Family.V6)[0]


def test_ipv6_nat_addresses_with_ports_are_bracketed() -> None:
    span = NatRange(first=IPv6Address("fd00::4"), last=IPv6Address("fd00::8"), ipv6=True)
    facts = replace(HOME, subnets=(SIX,), nat=span)
    assert (
        "--to-source [fd00::4-fd00::8]:1024-65535" in met(facts, "nat", "LIBVIRT_PRT", Family.V6)[1]
    )


def test_without_ipv6_addresses_there_are_no_ipv6_rules() -> None:
    assert {rule.family for rule in plan(HOME)} == {Family.V4}


def test_ipv6_without_subnet_is_forwarded_between_guests_only() -> None:
    facts = replace(HOME, ipv6_blocked=False)
    six = [rule for rule in plan(facts) if rule.family is Family.V6]
    assert [rule.chain for rule in six] == ["LIBVIRT_FWO", "LIBVIRT_FWI", "LIBVIRT_FWX"]


def test_forward_dev_restricts_forwarding() -> None:
    facts = replace(HOME, dev="eth1")
    assert met(facts, "filter", "LIBVIRT_FWO")[0] == (
        "-s 192.168.122.0/24 -i virbr0 -o eth1 -j ACCEPT"
    )
    assert met(facts, "filter", "LIBVIRT_FWI")[0].startswith(
        "-d 192.168.122.0/24 -i eth1 -o virbr0 -m conntrack"
    )
    assert all(" -o eth1 " in rule for rule in met(facts, "nat", "LIBVIRT_PRT"))


def test_routed_network_accepts_new_connections() -> None:
    facts = replace(HOME, mode=ForwardMode.ROUTE)
    assert met(facts, "filter", "LIBVIRT_FWI")[0] == "-d 192.168.122.0/24 -o virbr0 -j ACCEPT"
    assert met(facts, "nat", "LIBVIRT_PRT") == []


def test_isolated_network_is_not_forwarded() -> None:
    facts = replace(HOME, mode=ForwardMode.ISOLATED)
    assert met(facts, "filter", "LIBVIRT_FWO") == [
        "-i virbr0 -j REJECT --reject-with icmp-port-unreachable"
    ]


def test_an_open_network_has_no_rules() -> None:
    assert plan(replace(HOME, mode=ForwardMode.OPEN)) == []


def test_tftp_port_is_accepted_when_served() -> None:
    assert not any("--dport 69" in rule for rule in met(HOME, "filter", "LIBVIRT_INP"))
    served = replace(HOME, tftp=True)
    assert met(served, "filter", "LIBVIRT_INP")[0] == "-i virbr0 -p udp -m udp --dport 69 -j ACCEPT"


@pytest.mark.parametrize("mode", list(ForwardMode))
def test_both_backends_have_the_same_rules(mode: ForwardMode) -> None:
    facts = replace(HOME, mode=mode, subnets=(*HOME.subnets, SIX), nat=NatRange(ipv6=True))
    expected = sum(rule.table != "mangle" for rule in plan(facts))
    base = json.dumps(nft_removal("virbr0")).count('"rule"')
    there = json.dumps(nft_install(facts)).count('"rule"')
    assert there - base == expected
