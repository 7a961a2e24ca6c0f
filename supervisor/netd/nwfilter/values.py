"""Converts rule attributes to the form of ebtables and iptables. Pure.

Owns: names of protocols and numbers in any base. Pure.
Source: libvirt 9.0 formatnwfilter, "Supported protocols"; IANA's numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from conf.nwfilter import attribute_types
from conf.types.mac import parse_mac
from rpc.errors import ErrorCode, ErrorDomain, VirError

NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}")
ETHER_TYPES: Final = {name.lower(): value for name, value in attribute_types.ETHER_TYPES.items()}
ARP_OPERATIONS: Final = {
    name.lower(): value for name, value in attribute_types.ARP_OPERATIONS.items()
}
IP_PROTOCOLS: Final = {name.lower(): value for name, value in attribute_types.IP_PROTOCOLS.items()}


def number(text: str, names: Mapping[str, int] | None = None) -> int:
    """Parse a decimal or hexadecimal number, or a name.

    Raises:
        VirError: INTERNAL_ERROR: it is neither. A variable may hold anything.
    """
    named = (names or {}).get(text.strip().lower())
    if named is not None:
        return named
    if NUMBER.fullmatch(text) is None:
        raise invalid_value(text, "a number")
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


def span(first: str, last: str | None) -> str:
    """Format `FIRST:LAST`, or `FIRST` without a last."""
    low = number(first)
    return f"{low}:{number(last)}" if last is not None else str(low)


def subnet(address: str, mask: str | None) -> str:
    """Format `ADDRESS/PREFIX` from an address and a mask of either form.

    Raises:
        VirError: INTERNAL_ERROR: not an address, or no mask for it.
    """
    host = ip(address)
    if mask is None:
        return str(host)
    try:
        bits = int(mask) if mask.isdigit() else _bits(mask)
    except ValueError:
        bits = -1
    if not 0 <= bits <= host.max_prefixlen:
        raise invalid_value(f"{address}/{mask}", "an address with its mask")
    return f"{host}/{bits}"


def ip(text: str) -> IPv4Address | IPv6Address:
    """Parse an address of either family.

    Raises:
        VirError: INTERNAL_ERROR: it is none.
    """
    for kind in (IPv4Address, IPv6Address):
        try:
            return kind(text)
        except AddressValueError:
            continue
    raise invalid_value(text, "an IP address")


def mac(text: str) -> str:
    """Format a MAC address with two digits a byte.

    Raises:
        VirError: INTERNAL_ERROR: it is none.
    """
    try:
        return parse_mac(text)
    except ValueError:
        raise invalid_value(text, "a MAC address") from None


def invalid_value(text: str, expected: str) -> VirError:
    """INTERNAL_ERROR: a variable's value does not fit the attribute."""
    detail = f"filter has value '{text}' where {expected} is expected"
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NWFILTER)


def _bits(mask: str) -> int:
    """Convert a mask in dotted form to a prefix length."""
    bits = int(ip(mask))
    width = ip(mask).max_prefixlen
    length = bin(bits).count("1")
    if bits != ((1 << length) - 1) << (width - length):
        raise invalid_value(mask, "a mask")
    return length
