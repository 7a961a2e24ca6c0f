"""Options of ebtables and iptables in nftables' words match the same frames."""

from __future__ import annotations

import pytest

from supervisor.netd.firewall.rules import Family
from supervisor.netd.nwfilter.nft_expressions import ether_expression, inet_expression


def raw(offset: int, length: int, value: int) -> object:
    """A match of bits of the network header."""
    left = {"payload": {"base": "nh", "offset": offset, "len": length}}
    return {"match": {"op": "==", "left": left, "right": value}}


OWN_HEADER = {
    "match": {
        "op": "==",
        "left": {"&": [{"payload": {"protocol": "ip", "field": "frag-off"}}, 0x1FFF]},
        "right": 0,
    }
}


def test_addresses_are_compared_in_arp_of_ethernet_and_ipv4_alone() -> None:
    by_ip = ether_expression(["-p", "0x806", "--arp-ip-src", "10.0.0.2", "-j", "ACCEPT"])
    for ipv4 in (raw(16, 16, 0x800), raw(40, 8, 4), raw(32, 8, 6)):
        assert ipv4 in by_ip
    mac = "52:54:00:00:00:01"
    by_mac = ether_expression(["-p", "0x806", "!", "--arp-mac-src", mac, "-j", "DROP"])
    assert raw(0, 16, 1) in by_mac
    assert raw(32, 8, 6) in by_mac
    assert len(ether_expression(["-p", "0x806", "--arp-opcode", "1", "-j", "DROP"])) == 4


@pytest.mark.parametrize(
    ("family", "args", "checked"),
    [
        (Family.V4, ["-p", "udp", "--dport", "53"], True),
        (Family.V4, ["-p", "icmp", "--icmp-type", "8"], True),
        (Family.V4, ["-p", "tcp", "--tcp-flags", "SYN,ACK", "SYN"], True),
        (Family.V4, ["-p", "udp"], False),
        (Family.V6, ["-p", "udp", "--dport", "53"], False),
    ],
)
def test_a_later_fragment_has_no_ports(family: Family, args: list[str], checked: bool) -> None:
    assert (OWN_HEADER in inet_expression(family, [*args, "-j", "DROP"], to_guest=False)) == checked


def test_a_later_fragment_has_no_ports_for_ebtables_either() -> None:
    ports = ["-p", "ipv4", "--ip-protocol", "17", "--ip-destination-port", "53"]
    assert OWN_HEADER in ether_expression([*ports, "-j", "DROP"])
    assert OWN_HEADER not in ether_expression([*ports[:4], "-j", "DROP"])


def test_an_ipv6_protocol_may_follow_extension_headers() -> None:
    rule = ether_expression(["-p", "ipv6", "--ip6-protocol", "58", "-j", "ACCEPT"])
    protocol = {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 58}
    assert {"match": protocol} in rule
