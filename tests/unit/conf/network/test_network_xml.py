"""Networks are read, completed and refused as by libvirt 9.0."""

from __future__ import annotations

import pytest

from conf.errors import ConfError
from conf.network import Network, complete, format_network, parse_network, validate
from conf.types.ip_address import any_form, usual_form

RANGE = "<dhcp><range start='10.0.0.2' end='10.0.0.9'/></dhcp>"


def network(inside: str, name: str = "<name>n</name>") -> Network:
    parsed = complete(parse_network(f"<network>{name}{inside}</network>"))
    validate(parsed)
    return parsed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("65535", "0.0.255.255"),
        ("10.1", "10.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("010.0.0.1", "8.0.0.1"),
        ("FD00:AB::0001", "fd00:ab::1"),
        ("::FFFF:192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_addresses_come_out_in_their_usual_form(text: str, address: str) -> None:
    assert usual_form(any_form(text)) == address


@pytest.mark.parametrize(
    "text", ["", "bogus", "1.2.3.4 x", "fe80::1%lo", "4294967296", "1.2.3.4.5"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    try:
        address = any_form(text)
    except ValueError:
        return
    pytest.fail(f"{text!r} is read as {address}")


@pytest.mark.parametrize(
    ("inside", "name", "kind", "text"),
    [
        ("<ip address='bogus'/>", "", "no_name", "<network>: it needs a <name>"),
        (
            "<dns><srv protocol='tcp'/></dns>",
            "<name>n</name>",
            "xml_detail",
            "missing required service attribute in DNS SRV record of network 'n'",
        ),
        ("<ip address='10.0.0.1' family='x'/>", "<name>n</name>", "xml", "Unrecognized family"),
        (f"<ip address='10.0.0.1' netmask='2'>{RANGE}</ip>", "<name>n</name>", "internal", "-1"),
        (
            f"<ip address='10.0.0.1' netmask='0.0.0.255'>{RANGE}</ip>",
            "<name>n</name>",
            "internal",
            "-1",
        ),
        ("<ip address='10.0.0.1' netmask='bad'/>", "<name>n</name>", "xml", "Invalid netmask"),
        (
            "<forward mode='vepa'/><bridge name='b'/><ip address='10.0.0.1'/>",
            "<name>n</name>",
            "xml",
            "bridge name not allowed in vepa mode",
        ),
        (
            "<bandwidth><inbound average='x'/><inbound average='1'/></bandwidth>",
            "<name>n</name>",
            "xml_detail",
            "Only one child <inbound> element allowed",
        ),
        (
            "<ip address='10.0.0.1' family='ipv6'/>",
            "<name>n</name>",
            "config_unsupported",
            "Family 'ipv6' specified for non-IPv6 address",
        ),
        ("<forward mode='x'/>", "<name>n</name>", "config_unsupported", "forwarding type 'x'"),
        (
            "<forward mode='nat' dev='a'><interface dev='b'/></forward><ip address='10.0.0.1'/>",
            "<name>n</name>",
            "xml",
            "<forward dev='a'> must match first <interface dev='b'/> in network n",
        ),
        ("", f"<name>{'x' * 300}</name>", "system_error", "File name too long"),
        ("<ip address='10.0.0.1' prefix='4294967296'/>", "<name>n</name>", "xml", "prefix"),
        ("<bridge delay='99999999999999999999'/>", "<name>n</name>", "xml", "delay"),
        (
            "<forward mode='bridge'/><dns><txt name='a' value='b'/></dns>",
            "<name>n</name>",
            "config_unsupported",
            "Unsupported <dns> element",
        ),
        ("<virtualport/>", "<name>n</name>", "xml", "missing required virtualport type"),
    ],
)
def test_documents_are_refused_with_the_first_error(
    inside: str, name: str, kind: str, text: str
) -> None:
    with pytest.raises(ConfError, match=text) as refused:
        network(inside, name)
    assert refused.value.kind == kind


def test_netmask_with_gaps_is_refused_only_where_it_counts() -> None:
    (ip,) = network("<ip address='10.0.0.1' netmask='65535'/>").ips
    assert ip.netmask == "0.0.255.255"
    with pytest.raises(ConfError, match="bad prefix"):
        _ = ip.network


def test_last_lease_with_a_duration_counts() -> None:
    leases = "<lease expiry='5'/><lease expiry='2' unit='hours'/><lease unit='minutes'/>"
    document = f"<range start='10.0.0.2' end='10.0.0.9'>{leases}</range>"
    (ip,) = network(f"<ip address='10.0.0.1' prefix='24'><dhcp>{document}</dhcp></ip>").ips
    assert ip.dhcp is not None
    lease = ip.dhcp.ranges[0].lease
    assert lease is not None
    assert (lease.expiry, lease.unit) == (2, "hours")


@pytest.mark.parametrize(("stp", "on"), [("off", False), ("on", True), ("auto", True), ("", True)])
def test_spanning_tree_is_on_unless_off(stp: str, *, on: bool) -> None:
    bridge = network(f"<bridge name='b' stp='{stp}'/>").bridge
    assert bridge is not None
    assert bridge.stp is on


def test_metadata_has_one_element_of_a_namespace() -> None:
    element = "<a:x xmlns:a='urn:a'>{}</a:x>"
    metadata = f"<metadata>{element.format(1)}{element.format(2)}</metadata>"
    assert format_network(network(metadata), inactive=True).count("urn:a") == 1


def test_host_bridge_without_a_name_has_no_bridge_element() -> None:
    assert network("<forward mode='bridge'/><bridge/>").bridge is None


@pytest.mark.parametrize(
    "inside",
    [
        "<bridge name='b' delay='' macTableManager='' zone=''/>",
        "<mac address=''/>",
        "<mtu size=''/>",
        "<forward mode=''><driver name=''/></forward><ip address='10.0.0.1'/>",
        "<ip address='10.0.0.1' family='' netmask=''/>",
        "<portgroup name='a' default=''/>",
        "<uuid/>",
    ],
)
def test_empty_values_are_absent(inside: str) -> None:
    assert "''" not in format_network(network(inside), inactive=True)


def test_empty_values_are_kept_where_libvirt_keeps_them() -> None:
    domain = network("<domain name=''/>").domain
    assert domain is not None
    assert domain.name == ""
    dns = network("<dns><txt name='' value=''/><srv service='' protocol='tcp'/></dns>").dns
    assert dns is not None
    assert (dns.txts[0].name, dns.srvs[0].service) == ("", "")


@pytest.mark.parametrize(
    ("forward", "live"),
    [
        ("<forward mode='nat'/>", "<port start='1024' end='65535'/>"),
        ("<forward dev='eth0'/>", "<port start='1024' end='65535'/>"),
        (
            "<forward mode='nat'><nat><port start='2000' end='3000'/></nat></forward>",
            "<port start='2000' end='3000'/>",
        ),
        ("<forward mode='route'/>", ""),
    ],
)
def test_active_nat_network_names_its_ports(forward: str, live: str) -> None:
    model = network(f"{forward}<ip address='10.0.0.1' netmask='255.255.255.0'/>")
    text = format_network(model, inactive=False)
    assert live in text
    assert ("<port" in text) == bool(live)
    assert "1024" not in format_network(model, inactive=True)


def virtual_port(managerid: str) -> Network:
    return network(
        "<forward mode='bridge'/><bridge name='b0'/><virtualport type='802.1Qbg'>"
        f"<parameters managerid='{managerid}' typeid='1' typeidversion='1'/></virtualport>"
    )


@pytest.mark.parametrize(
    ("text", "written"), [("010", "8"), ("10", "10"), ("0x10", "16"), (" 7", "7")]
)
def test_a_number_of_a_virtual_port_may_be_octal_or_hexadecimal(text: str, written: str) -> None:
    assert f"managerid='{written}'" in format_network(virtual_port(text), inactive=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "cannot parse value of managerid parameter") for text in ("7 ", "1_0", "٣")),
        *((text, "value of managerid out of range") for text in ("256", "0400", "-1")),
    ],
)
def test_other_numbers_of_a_virtual_port_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfError, match=message) as refusal:
        virtual_port(text)
    assert refusal.value.kind == "xml"
