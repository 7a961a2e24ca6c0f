"""Attribute types of networks: addresses.

Owns: those ways to read and write. Pure.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final

from conf.errors import ConfError
from conf.types.ip_address import Address, any_form, usual_form

Subnet = IPv4Network | IPv6Network

#: Default prefix length of an IPv4 address, by its class.
CLASSES: Final = ((128, 8), (192, 16), (224, 24))


def address(text: str) -> str:
    """Parse an address of either family; it comes out in its usual form.

    Raises:
        ConfError: "xml": it is none.
    """
    return usual_form(parsed_address(text))


def netmask(text: str) -> str:
    """Parse a netmask in dotted form; that its bits are contiguous is not checked.

    Raises:
        ConfError: "xml": it is none.
    """
    try:
        return usual_form(any_form(text))
    except ValueError:
        raise ConfError("xml", f"Invalid netmask '{text}'", "ip/@netmask") from None


def socket_address(text: str) -> str:
    """Parse an address in the forms that getaddrinfo accepts.

    Raises:
        ConfError: "system_error": it is none.
    """
    try:
        return usual_form(any_form(text))
    except ValueError:
        detail = f"Cannot parse socket address '{text}'; write it as 192.0.2.1 or 2001:db8::1"
        raise ConfError("system_error", detail) from None


def record_address(text: str) -> str:
    """Parse the address of a DNS host record.

    Raises:
        ConfError: "xml_detail": it is none.
    """
    try:
        return usual_form(any_form(text))
    except ValueError:
        detail = f"Invalid IP address '{text}' in a DNS HOST record; write it as 192.0.2.1"
        raise ConfError("xml_detail", detail, "network/dns/host/@ip") from None


def parsed_address(text: str) -> Address:
    """Parse an address of either family.

    Raises:
        ConfError: "xml": it is none.
    """
    try:
        return any_form(text)
    except ValueError:
        detail = f"Invalid address '{text}'; write it as 192.0.2.1 or 2001:db8::1"
        raise ConfError("xml", detail) from None


def prefix_of(known_address: Address, prefix: int | None, netmask: str | None) -> int:
    """Return the prefix length: the XML's, or the default of the address's class or family.

    Raises:
        ConfError: "internal": the netmask's bits are not contiguous.
    """
    if prefix is not None:
        return prefix
    if netmask is not None:
        bits = int(IPv4Address(netmask))
        length = bits.bit_count()
        # IPv4Network itself would take "0.0.0.255" as a host mask and "8" as a length.
        if bits != (1 << 32) - (1 << 32 - length):
            detail = f"bad prefix -1 for network {known_address}: netmask {netmask} has gaps"
            raise ConfError("internal", detail, "ip/@netmask")
        return length
    if known_address.version == 6:
        return 64
    return next((length for below, length in CLASSES if known_address.packed[0] < below), 32)
