"""<ip> and <route> of interfaces, as libvirt reads them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain.device_xml import parse_device
from conf.domain.devices.addressing import Ip, Route
from conf.domain.devices.interface import Interface
from conf.domain.validate.parsed_devices import check_parsed_device
from conf.errors import ConfError
from conf.mapper import Mode, parse, write
from conf.types.ip_route import check_route, destination


def interface(inside: str) -> Interface:
    tag, device = parse_device(f"<interface type='bridge'><source bridge='b'/>{inside}</interface>")
    check_parsed_device(tag, device)
    assert isinstance(device, Interface)
    return device


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("address='192.0.2.7'", "<ip address='192.0.2.7' family='ipv4'/>"),
        ("address='192.0.2.7' prefix='0'", "<ip address='192.0.2.7' family='ipv4'/>"),
        ("address='7' family='any'", "<ip address='0.0.0.7' family='ipv4'/>"),
        ("address='2001:DB8::0:1' prefix='48'",
         "<ip address='2001:db8::1' family='ipv6' prefix='48'/>"),
    ],
)  # fmt: skip
def test_an_address_is_shown_in_its_usual_form_with_its_family(words: str, expected: str) -> None:
    assert write(parse(Ip, f"<ip {words}/>"), Mode()).strip() == expected


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        ("", "xml", "Missing required address in <ip>"),
        ("address='host'", "xml", "Invalid address 'host' in <ip>"),
        ("address='192.0.2.7' family='ipv6'", "xml", "Invalid address '192.0.2.7'"),
        ("address='192.0.2.7' prefix='33'", "xml", "Invalid prefix value '33' in <ip>"),
        ("address='2001:db8::1' prefix='129'", "xml", "Invalid prefix value '129' in <ip>"),
        ("address='192.0.2.7' prefix='some'", "xml", "Invalid prefix value 'some' in <ip>"),
        ("address='192.0.2.7' peer='2001:db8::1'", "invalid_arg", "Invalid peer"),
    ],
)
def test_a_wrong_address_is_refused_at_the_definition(words: str, kind: str, text: str) -> None:
    with pytest.raises(ConfError, match=text) as refusal:
        interface(f"<ip {words}/>")
    assert refusal.value.kind == kind


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("gateway='192.0.2.1'", "Missing required address"),
        ("address='198.51.100.0' prefix='24'", "Missing required gateway"),
        ("address='net' gateway='192.0.2.1'", "Bad network address 'net'"),
        ("address='0.0.0.0' gateway='gw'", "Bad gateway address 'gw'"),
        ("address='0.0.0.0' gateway='192.0.2.1' family='inet'", "Unrecognized family 'inet'"),
        ("address='::' gateway='::1'", "No family specified for non-IPv4 address"),
        ("address='0.0.0.0' gateway='::1' family='ipv4'", "IPv4 family specified for non-IPv4"),
        ("address='0.0.0.0' gateway='::1' family='ipv6'", "ipv6 family specified for non-IPv6"),
        ("address='::' gateway='192.0.2.1' family='ipv6'", "non-IPv6 gateway address"),
        ("address='::' netmask='ffff::' gateway='::1' family='ipv6'", "netmask invalid for IPv6"),
        ("address='198.51.100.0' prefix='40' gateway='192.0.2.1'", "must be 0 - 32"),
        ("address='198.51.100.0' gateway='192.0.2.1'", "not a network address"),
        ("address='198.51.100.1' prefix='24' gateway='192.0.2.1'", "not a network address"),
        ("address='10.0.0.0' netmask='255.0.255.0' gateway='192.0.2.1'", "not a network address"),
        ("address='10.0.0.0' netmask='x' gateway='192.0.2.1'", "Bad netmask address 'x'"),
        ("address='10.0.0.0' netmask='ff::' gateway='192.0.2.1'", "both must be IPv4"),
        ("address='10.0.0.0' netmask='255.0.0.0' prefix='8' gateway='192.0.2.1'", "both a prefix"),
    ],
)
def test_a_wrong_route_is_refused_at_the_definition(words: str, text: str) -> None:
    with pytest.raises(ConfError, match=text) as refusal:
        interface(f"<route {words}/>")
    assert refusal.value.kind == "xml"
    assert refusal.value.message.startswith("guest interface: ")


@given(
    address=st.ip_addresses(),
    prefix=st.none() | st.integers(0, 130),
    netmask=st.none() | st.ip_addresses(v=4).map(str),
    gateway=st.ip_addresses(),
)
def test_a_route_that_is_accepted_leads_to_a_network(
    address: object, prefix: int | None, netmask: str | None, gateway: object
) -> None:
    version = ip_address(str(address)).version
    route = Route(
        family=f"ipv{version}",
        address=str(address),
        prefix=prefix,
        netmask=netmask,
        gateway=str(gateway),
    )
    try:
        check_route("guest interface", route)
    except ConfError:
        return
    assert destination(route) == ip_network(f"{address}/{destination(route).prefixlen}")
