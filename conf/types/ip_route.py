"""Static routes: libvirt's rules for the words of a <route>, of networks and of devices.

Owns: these refusals, and a route's destination. Pure.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Protocol

from conf.errors import ConfError
from conf.types.ip_address import Address, any_form

WHERE: Final = "in route definition"
BITS: Final = {4: 32, 6: 128}


class IpRoute(Protocol):
    """A <route> as it was read."""

    @property
    def family(self) -> str | None:
        """Its word: ipv4 or ipv6; any other is refused."""

    @property
    def address(self) -> str | None:
        """The destination."""

    @property
    def gateway(self) -> str | None:
        """The next hop."""

    @property
    def netmask(self) -> str | None:
        """The destination's size, for IPv4."""

    @property
    def prefix(self) -> int | None:
        """The destination's size."""


def check_route(owner: str, route: IpRoute) -> None:
    """Check the words of a <route>.

    Args:
        owner: begins the messages: a network's name, or the kind of device.
        route: the route.

    Raises:
        ConfError: "xml".
    """
    for name, word in (("address", route.address), ("gateway", route.gateway)):
        if word is None:
            raise _refusal(owner, f"Missing required {name} attribute {WHERE}")
    address = _parse(owner, "network", route.address)
    gateway = _parse(owner, "gateway", route.gateway)
    if route.family not in (None, "ipv4", "ipv6"):
        raise _refusal(owner, f"Unrecognized family '{route.family}' {WHERE}")
    if route.family == "ipv6":
        _check_ipv6(owner, route, address, gateway)
    else:
        _check_ipv4(owner, route, address, gateway)
    bits = BITS[address.version]
    if route.prefix is not None and route.prefix > bits:
        detail = f"Invalid prefix {route.prefix} specified {WHERE}, must be 0 - {bits}"
        raise _refusal(owner, detail)
    length = _length(route)
    if length is None or int(address) & ((1 << bits - length) - 1):
        raise _refusal(owner, f"Address '{route.address}' {WHERE} is not a network address")


def destination(route: IpRoute) -> IPv4Network | IPv6Network:
    """Return the destination of a route that `check_route` accepts.

    Raises:
        ValueError: it is none.
    """
    address = any_form(route.address or "")
    length = _length(route)
    if length is None:
        raise ValueError(route.netmask)
    return ip_network(f"{address}/{length}")


def _length(route: IpRoute) -> int | None:
    """Return the length of the destination's prefix, by default 0; None: the netmask has gaps."""
    if route.netmask is None:
        return route.prefix or 0
    bits = int(any_form(route.netmask))
    length = bits.bit_count()
    return length if bits == (1 << 32) - (1 << 32 - length) else None


def _check_ipv4(owner: str, route: IpRoute, address: Address, gateway: Address) -> None:
    family = "IPv4" if route.family else "No"
    for name, parsed, word in (
        ("address", address, route.address),
        ("gateway", gateway, route.gateway),
    ):
        if parsed.version != 4:
            detail = f"{family} family specified for non-IPv4 {name} '{word}' {WHERE}"
            raise _refusal(owner, detail)
    if route.netmask is not None:
        if _parse(owner, "netmask", route.netmask).version != 4:
            detail = (
                f"Invalid netmask '{route.netmask}' for address '{route.address}' "
                "(both must be IPv4)"
            )
            raise _refusal(owner, detail)
        if route.prefix is not None:
            raise _refusal(owner, "Route definition cannot have both a prefix and a netmask")


def _check_ipv6(owner: str, route: IpRoute, address: Address, gateway: Address) -> None:
    if address.version != 6:
        detail = f"ipv6 family specified for non-IPv6 address '{route.address}' {WHERE}"
        raise _refusal(owner, detail)
    if route.netmask is not None:
        detail = f"Specifying netmask invalid for IPv6 address '{route.address}' {WHERE}"
        raise _refusal(owner, detail)
    if gateway.version != 6:
        detail = f"ipv6 specified for non-IPv6 gateway address '{route.gateway}' {WHERE}"
        raise _refusal(owner, detail)


def _parse(owner: str, name: str, word: str | None) -> Address:
    try:
        return any_form(word or "")
    except ValueError:
        raise _refusal(owner, f"Bad {name} address '{word or ''}' {WHERE}") from None


def _refusal(owner: str, detail: str) -> ConfError:
    return ConfError("xml", f"{owner}: {detail}", "route")
