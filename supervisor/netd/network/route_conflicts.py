"""Detects subnets that the host already has a route to. Pure.

Owns: that decision.
Source: libvirt 9.0 refuses a network if the host has a route to exactly its subnet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from supervisor.netd.kernel.netlink import HostRoute

Subnet = IPv4Network | IPv6Network


def find_conflict(
    subnets: Sequence[Subnet], routes: Iterable[HostRoute]
) -> tuple[Subnet, HostRoute] | None:
    """Return the first subnet with a route, and the route.

    A wider route is none: traffic for the subnet then takes the network's own, narrower one.
    """
    for route in routes:
        if not route.destination or route.prefix == 0:
            continue
        destination = ip_network(f"{route.destination}/{route.prefix}", strict=False)
        if destination in subnets:
            return destination, route
    return None
