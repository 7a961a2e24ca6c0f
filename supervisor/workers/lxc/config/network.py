"""lxc.net settings: the network devices that liblxc moves into the container.

Owns: these lines. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from conf.domain import Domain
from conf.domain.devices.addressing import Ip, Route
from conf.errors import ConfError
from conf.network.attributes import prefix_of
from conf.types import ip_route
from supervisor.workers.lxc.config.host_facts import HostFacts
from supervisor.workers.lxc.config.text import setting


def is_private(domain: Domain, facts: HostFacts) -> bool:
    """Return whether the container has a network namespace of its own, by libvirt's rules."""
    devices = domain.devices
    privnet = domain.features is not None and domain.features.privnet
    nets = any(hostdev.type == "net" for hostdev in devices.hostdevs)
    return bool(devices.interfaces) or nets or privnet or "net" in facts.namespaces


def network_lines(domain: Domain, facts: HostFacts) -> Iterator[str]:
    """Write the settings of each interface and its addresses, or of the namespace (lxc.net.*)."""
    if "net" in facts.namespaces:
        return
    if not is_private(domain, facts):
        yield "lxc.net.0.type = none"
        return
    number = 0
    for index, interface in enumerate(domain.devices.interfaces):
        netdev = facts.interfaces[index]
        yield from _interface_lines(
            number, netdev.link, netdev.name, interface.ips, interface.routes
        )
        if interface.link_state != "down":
            yield f"lxc.net.{number}.flags = up"
        number += 1
    for hostdev in domain.devices.hostdevs:
        if hostdev.type == "net" and hostdev.source.interface:
            name = hostdev.source.interface
            yield from _interface_lines(number, name, name, hostdev.ips, hostdev.routes)
            yield f"lxc.net.{number}.flags = up"
            number += 1
    if number == 0:
        yield "lxc.net.0.type = empty"


def _interface_lines(
    number: int, link: str, name: str, ips: list[Ip], routes: list[Route]
) -> Iterator[str]:
    prefix = f"lxc.net.{number}"
    yield f"{prefix}.type = phys"
    yield setting(f"{prefix}.link", link, "domain/devices/interface")
    yield setting(f"{prefix}.name", name, "domain/devices/interface/guest/@dev")
    for ip in ips:
        address = ip_interface(ip)
        yield f"{prefix}.ipv{address.version}.address = {address}"
    for route in routes:
        gateway = default_gateway(route)
        if gateway is not None:
            yield f"{prefix}.ipv{gateway.version}.gateway = {gateway}"


def ip_interface(ip: Ip) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    """Parse an address with its prefix, or the default one.

    Raises:
        ConfError: "xml": it is no address.
    """
    try:
        address = ipaddress.ip_address(ip.address)
        prefix = prefix_of(address, ip.prefix, None)
        return ipaddress.ip_interface(f"{address}/{prefix}")
    except ValueError as error:
        detail = f"'{ip.address}/{ip.prefix}' is not an address: {error}"
        raise ConfError("xml", detail, "domain/devices/interface/ip") from error


def destination(route: Route) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return the destination of a route.

    Raises:
        ConfError: "xml": it is not a network.
    """
    try:
        return ip_route.destination(route)
    except ValueError as error:
        detail = f"the route to '{route.address}' is invalid: {error}"
        raise ConfError("xml", detail, "domain/devices/interface/route") from error


def default_gateway(route: Route) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the gateway of a default route without a metric; None of other routes.

    Raises:
        ConfError: "xml": the route is invalid.
    """
    if destination(route).prefixlen != 0 or route.metric is not None:
        return None
    return route_gateway(route)


def route_gateway(route: Route) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse the gateway of a route.

    Raises:
        ConfError: "xml": it is not an address.
    """
    try:
        return ipaddress.ip_address(route.gateway or "")
    except ValueError as error:
        detail = f"the gateway '{route.gateway}' is not an address: {error}"
        raise ConfError("xml", detail, "domain/devices/interface/route/@gateway") from error
