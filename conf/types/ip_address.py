"""IP addresses as libvirt reads and writes them (virSocketAddrParse, virSocketAddrFormat).

Owns: parsing and the usual form. Pure.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address


def any_form(text: str) -> Address:
    """Parse an address in every form that getaddrinfo(AI_NUMERICHOST) accepts.

    An IPv4 address may have fewer than four parts, in octal or hexadecimal: "1" is 0.0.0.1.

    Raises:
        ValueError: it is none.
    """
    if "%" in text:
        raise ValueError(text)  # a scope: no link is meant yet where a document is read
    try:
        return ip_address(text)
    except ValueError:
        if any(letter.isspace() for letter in text):  # inet_aton ignores what follows a space
            raise
    try:
        return IPv4Address(socket.inet_aton(text))
    except OSError as error:
        raise ValueError(text) from error


def usual_form(address: Address) -> str:
    """Format an address as getnameinfo does: IPv4-mapped ones end in dotted form."""
    if isinstance(address, IPv4Address):
        return str(address)
    return socket.inet_ntop(socket.AF_INET6, address.packed)
