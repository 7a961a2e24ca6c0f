"""MAC addresses as libvirt reads them (virMacAddrParse).

Owns: parsing and the usual form. Pure.
"""

from __future__ import annotations

import re
from typing import Final

#: A byte may have one digit.
MAC_ADDRESS: Final = re.compile(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}")
GROUP_BIT: Final = 1  # of the first byte: the address is a multicast one


def parse_mac(text: str) -> str:
    """Parse a MAC address; it comes out in lower case, two digits a byte.

    Raises:
        ValueError: it is malformed.
    """
    if MAC_ADDRESS.fullmatch(text) is None:
        raise ValueError(text)
    return ":".join(f"{int(byte, 16):02x}" for byte in text.split(":"))


def unicast_mac(text: str) -> str:
    """Parse the MAC address of an interface, which cannot be a multicast one.

    Raises:
        ValueError: it is malformed or a multicast address.
    """
    address = parse_mac(text)
    if int(address[:2], 16) & GROUP_BIT:
        raise ValueError(text)
    return address
