"""virNetworkUpdate on definitions."""

from __future__ import annotations

import pytest

from conf.errors import ConfError
from conf.network import Network, parse_network, update_network

MODIFY, DELETE, ADD, ADD_FIRST = 1, 2, 3, 4
INVALID, UNSUPPORTED = "operation_invalid", "operation_unsupported"
BRIDGE, HOST, RANGE, INTERFACE, GROUP, NAME, TXT, SRV = 1, 4, 5, 7, 9, 10, 11, 12
DOCUMENT = (
    "<network><name>n</name><forward mode='bridge'><interface dev='eth1'/></forward>{}</network>"
)
IPS = (
    "<network><name>n</name><bridge name='b'/><dns><txt name='a' value='b'/></dns>"
    "<ip address='10.0.0.1' netmask='255.255.255.0'><dhcp>"
    "<range start='10.0.0.10' end='10.0.0.20'/>"
    "<host mac='52:54:00:00:00:01' name='one' ip='10.0.0.2'/></dhcp></ip>"
    "<ip family='ipv6' address='fd00::1' prefix='64'/></network>"
)
TWO = "<host mac='52:54:00:00:00:02' name='two' ip='10.0.0.3'/>"


def hosts(network: Network) -> list[tuple[str | None, str | None]]:
    assert network.ips[0].dhcp is not None
    return [(host.name, host.ip) for host in network.ips[0].dhcp.hosts]


def test_update_adds_first_or_last_to_a_copy() -> None:
    network = parse_network(IPS)
    assert hosts(update_network(network, ADD, HOST, -1, TWO))[-1] == ("two", "10.0.0.3")
    assert hosts(update_network(network, ADD_FIRST, HOST, -1, TWO))[0] == ("two", "10.0.0.3")
    assert hosts(network) == [("one", "10.0.0.2")]


def test_update_selects_dhcp_hosts_by_attributes() -> None:
    network = parse_network(IPS)
    moved = "<host mac='52:54:00:00:00:01' name='one' ip='10.0.0.9'/>"
    changed = update_network(network, MODIFY, HOST, 0, moved)
    assert hosts(changed) == [("one", "10.0.0.9")]
    assert hosts(update_network(changed, DELETE, HOST, -1, "<host name='one'/>")) == []


@pytest.mark.parametrize(
    ("command", "section", "index", "xml", "kind", "words"),
    [
        (ADD, HOST, -1, "<host mac='52:54:00:00:00:01' ip='10.0.0.7'/>", INVALID, "existing"),
        (ADD, HOST, 7, TWO, INVALID, "index 7"),
        (MODIFY, HOST, -1, TWO, INVALID, "couldn't locate"),
        (DELETE, HOST, -1, TWO, INVALID, "couldn't locate"),
        (ADD, HOST, -1, "<range start='10.0.0.1' end='10.0.0.2'/>", "xml", "expecting <host>"),
        (ADD, HOST, -1, "<host name='x'/>", "xml", "IP address"),
        (MODIFY, RANGE, -1, "<range start='10.0.0.10' end='10.0.0.20'/>", UNSUPPORTED, "modified"),
        (ADD, RANGE, -1, "<range start='10.9.0.10' end='10.9.0.20'/>", "internal", "within"),
        (ADD, RANGE, -1, "<range start='10.0.0.10' end='10.0.0.20'/>", INVALID, "existing"),
        (ADD, TXT, -1, "<txt name='a' value='c'/>", INVALID, "existing"),
        (DELETE, SRV, -1, "<srv service='s' protocol='tcp'/>", INVALID, "couldn't locate"),
        (ADD, NAME, -1, "<host ip='10.0.0.5'/>", "xml_detail", "hostname"),
        (ADD, TXT, -1, "<txt name='n&#10;x' value='c'/>", "xml", "control character"),
        (ADD, BRIDGE, -1, "<bridge name='c'/>", UNSUPPORTED, "'bridge'"),
        (ADD, 99, -1, "<x/>", UNSUPPORTED, "unrecognized section"),
        (ADD, 99, -1, "<", "xml_detail", "StartTag"),
        (9, HOST, -1, TWO, UNSUPPORTED, "command code 9"),
    ],
)  # fmt: skip
def test_invalid_updates_are_refused(
    command: int, section: int, index: int, xml: str, kind: str, words: str
) -> None:
    with pytest.raises(ConfError, match=words) as refused:
        update_network(parse_network(IPS), command, section, index, xml)
    assert refused.value.kind == kind


def test_update_of_forward_interfaces_and_portgroups() -> None:
    network = parse_network(DOCUMENT.format(""))
    more = update_network(network, ADD, INTERFACE, -1, "<interface dev='eth2'/>")
    assert more.forward is not None
    assert [each.dev for each in more.forward.interfaces] == ["eth1", "eth2"]
    group = update_network(network, ADD, GROUP, -1, "<portgroup name='a' default='yes'/>")
    with pytest.raises(ConfError, match="already set as the default"):
        update_network(group, ADD, GROUP, -1, "<portgroup name='b' default='yes'/>")
    assert not update_network(group, DELETE, GROUP, -1, "<portgroup name='a'/>").portgroups
