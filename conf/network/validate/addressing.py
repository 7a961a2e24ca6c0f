"""Validates <ip>, <dhcp> and <route>. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, ip_address
from typing import Final

from conf.errors import ConfError
from conf.network.addressing import Dhcp, DhcpHost, Ip, LeaseTime, Route
from conf.network.attributes import Subnet
from conf.network.model import Network
from conf.network.validate.errors import unsupported, xml_error
from conf.types.ip_address import Address
from conf.types.ip_route import BITS, check_route
from conf.types.mac import MAC_ADDRESS

SHORTEST_LEASE_S: Final = 120
SECONDS: Final = {"seconds": 1, "minutes": 60, "hours": 3600}
LARGEST_LEASE: Final = 0xFFFFFFFF
LARGEST_METRIC: Final = 0xFFFFFFFF
RANGE_BITS: Final = 16  # a range's addresses may differ in so many of their last bits
_ID: Final = re.compile(r"[0-9a-fA-F:]*")


def check_addressing(network: Network) -> None:
    """Validate subnets, DHCP and routes.

    Raises:
        ConfError: "xml", "config_unsupported", "internal".
    """
    for ip in network.ips:
        check_ip(network.name, ip)
    for route in network.routes:
        check_static_route(network, route)


def check_dhcp_sections(network: Network) -> None:
    """Refuse DHCP for several subnets of one family.

    Raises:
        ConfError: "config_unsupported".
    """
    for version in BITS:
        serving = [ip for ip in network.ips if ip.version == version and gives(ip.dhcp)]
        if len(serving) > 1:
            detail = f"Multiple IPv{version} dhcp sections found"
            only = f"dhcp is supported only for a single IPv{version} address on each network"
            raise unsupported(f"{detail} -- {only}")


def gives(dhcp: Dhcp | None) -> bool:
    """Return whether DHCP has ranges or hosts."""
    return dhcp is not None and bool(dhcp.ranges or dhcp.hosts)


def check_ip(name: str, ip: Ip) -> None:
    """Validate an <ip>; `name` is the network's.

    Raises:
        ConfError: "xml", "config_unsupported", "internal".
    """
    where = f"address '{ip.address}' in network '{name}'"
    if ip.family not in (None, "ipv4", "ipv6"):
        raise xml_error(f"Unrecognized family '{ip.family}' in network '{name}'")
    if ip.family != f"ipv{ip.version}" and not (ip.family is None and ip.version == 4):
        family = f"Family '{ip.family}'" if ip.family else "no family"
        detail = f"{family} specified for non-IPv{10 - ip.version} {where}"
        raise unsupported(f"{detail}; use family='ipv{ip.version}'")
    if ip.netmask is not None:
        _check_netmask(ip, where)
    if ip.prefix is not None and ip.prefix > BITS[ip.version]:
        raise unsupported(f"Invalid IPv{ip.version} prefix '{ip.prefix}' in network '{name}'")
    if ip.tftp_root is not None and ip.version == 6:
        detail = f"Unsupported <tftp> element in an IPv6 element in network '{name}'"
        raise unsupported(detail)
    for span in ip.dhcp.ranges if ip.dhcp else ():
        check_range(ip, ip_address(span.start), ip_address(span.end), ip.network)
        check_lease(span.lease)
    for host in ip.dhcp.hosts if ip.dhcp else ():
        check_host(name, ip, host)


def _check_netmask(ip: Ip, where: str) -> None:
    if ip.version == 6:
        raise unsupported(f"netmask not allowed for IPv6 {where}; use prefix='64'")
    if ip.prefix is not None:
        raise unsupported(f"IP address cannot have both a prefix and a netmask: {where}")
    if ip.netmask is not None and ":" in ip.netmask:
        raise unsupported(f"Invalid netmask '{ip.netmask}' for {where} (both must be IPv4)")


def check_range(ip: Ip, first: Address, last: Address, subnet: Subnet) -> None:
    """Refuse a range outside the subnet.

    Raises:
        ConfError: "internal".
    """
    where = f"{first} - {last}"
    if first.version != last.version or first.version != subnet.version:
        raise ConfError("internal", f"mismatch of address family in range {where} for network")
    if first not in subnet or last not in subnet:
        detail = f"range {where} is not entirely within network {ip.address}/{subnet.prefixlen}"
        raise ConfError("internal", detail)
    check_span(first, last)
    if isinstance(subnet, IPv4Network):
        if first == subnet.network_address:
            detail = f"start of range {where} in network {subnet} is the network address"
            raise ConfError("internal", detail)
        if last == subnet.broadcast_address:
            detail = f"end of range {where} in network {subnet} is the broadcast address"
            raise ConfError("internal", detail)


def check_span(first: Address, last: Address) -> None:
    """Refuse a range that is reversed or too large.

    Raises:
        ConfError: "internal".
    """
    where = f"range {first} - {last}"
    if int(last) < int(first):
        raise ConfError("internal", f"{where} is reversed")
    if int(first) >> RANGE_BITS != int(last) >> RANGE_BITS:
        raise ConfError("internal", f"{where} is too large (> 65535)")


def check_lease(lease: LeaseTime | None) -> None:
    """Refuse a lease shorter than dnsmasq's minimum.

    Raises:
        ConfError: "config_unsupported".
    """
    if lease is None or not lease.expiry:
        return
    if lease.expiry > LARGEST_LEASE:
        raise unsupported(f"lease expiry {lease.expiry} is more than {LARGEST_LEASE}")
    if lease.expiry * SECONDS[lease.unit or "minutes"] < SHORTEST_LEASE_S:
        raise unsupported("The minimum lease time should be greater than 2 minutes")


def check_host(name: str, ip: Ip, host: DhcpHost, *, partial: bool = False) -> None:
    """Validate a <host> of <dhcp>.

    Args:
        name: of the network.
        ip: its <ip>.
        host: the reservation.
        partial: it only selects the entry to delete.

    Raises:
        ConfError: "xml", "config_unsupported".
    """
    where = f"static host definition for network '{name}'"
    _check_names(name, ip, host)
    check_lease(host.lease)
    key = host.mac if ip.version == 4 else host.id
    if partial:
        if not key and not host.name and not host.ip:
            raise xml_error(
                f"At least one of name, mac, or ip attribute must be specified for {where}"
            )
        return
    if key is None and not host.name:
        attribute_name = "mac" if ip.version == 4 else "id"
        raise xml_error(f"Missing {attribute_name} or name in {where}")
    if host.ip is None:
        raise xml_error(f"Missing IP address in {where}")


def _check_names(name: str, ip: Ip, host: DhcpHost) -> None:
    if host.mac is not None:
        if ip.version == 6:
            detail = f"Invalid to specify MAC address '{host.mac}' in network '{name}' IPv6 static"
            raise xml_error(f"{detail} host definition; use id, its DHCP unique identifier")
        if MAC_ADDRESS.fullmatch(host.mac) is None:
            raise xml_error(f"Cannot parse MAC address '{host.mac}' in network '{name}'")
        if int(host.mac.partition(":")[0], 16) & 1:
            raise xml_error(f"expected unicast mac address, found multicast '{host.mac}'")
    if host.id is not None and _ID.fullmatch(host.id) is None:
        letter = next(letter for letter in host.id if _ID.fullmatch(letter) is None)
        raise xml_error(f"Invalid character '{letter}' in id '{host.id}' of network '{name}'")
    if host.name is not None and not (host.name[:1].isascii() and host.name[:1].isalnum()):
        detail = f"Cannot use host name '{host.name}' in network '{name}'"
        raise xml_error(f"{detail}: it begins with no letter or digit")


def check_static_route(network: Network, route: Route) -> None:
    """Validate a <route>.

    Raises:
        ConfError: "xml"; "config_unsupported": the gateway is not reachable.
    """
    name = network.name
    check_route(name, route)
    assert route.gateway is not None, "checked"
    gateway = ip_address(route.gateway)
    if route.metric is not None and route.metric > LARGEST_METRIC:
        detail = f"metric {route.metric} in route definition is more than {LARGEST_METRIC}"
        raise xml_error(f"{name}: {detail}")
    near = (ip.network for ip in network.ips if ip.version == gateway.version)
    if not any(gateway in subnet for subnet in near):
        detail = f"unreachable static route gateway '{gateway}' specified for network '{name}'"
        raise unsupported(detail)
