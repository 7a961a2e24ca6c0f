"""Attribute types of networks: addresses.

Owns: those ways to read and write. Pure.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from conf.errors import ConfError

Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network

#: Default prefix length of an IPv4 address, by its class.
CLASSES: Final = ((128, 8), (192, 16), (224, 24))


def address(text: str) -> str:
    """Parse an address of either family, keeping its spelling.

    Raises:
        ConfError: "xml": it is none.
    """
    parsed_address(text)
    return text


def socket_address(text: str) -> str:
    """Parse an address in the forms that getaddrinfo accepts.

    Raises:
        ConfError: "system_error": it is none.
    """
    try:
        ip_address(text)
    except ValueError:
        detail = f"Cannot parse socket address '{text}'; write it as 192.0.2.1 or 2001:db8::1"
        raise ConfError("system_error", detail) from None
    return text


def record_address(text: str) -> str:
    """Parse the address of a DNS host record.

    Raises:
        ConfError: "xml_detail": it is none.
    """
    try:
        ip_address(text)
    except ValueError:
        detail = f"Invalid IP address '{text}' in a DNS HOST record; write it as 192.0.2.1"
        raise ConfError("xml_detail", detail, "network/dns/host/@ip") from None
    return text


def parsed_address(text: str) -> Address:
    """Parse an address of either family.

    Raises:
        ConfError: "xml": it is none.
    """
    try:
        return ip_address(text)
    except ValueError:
        detail = f"Invalid address '{text}'; write it as 192.0.2.1 or 2001:db8::1"
        raise ConfError("xml", detail) from None


def prefix_of(known_address: Address, prefix: int | None, netmask: str | None) -> int:
    """Return the prefix length: the XML's, or the default of the address's class or family.

    Raises:
        ConfError: "xml": the netmask is none.
    """
    if prefix is not None:
        return prefix
    if netmask is not None:
        try:
            return IPv4Network(f"0.0.0.0/{netmask}").prefixlen
        except ValueError:
            raise ConfError("xml", f"Invalid netmask '{netmask}'", "ip") from None
    if known_address.version == 6:
        return 64
    return next((length for below, length in CLASSES if known_address.packed[0] < below), 32)
