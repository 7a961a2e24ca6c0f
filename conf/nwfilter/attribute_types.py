"""Types of rule attributes: each parses a value and returns libvirt's form of it. Pure.

Owns: a function for each type: text in, libvirt's text out, ValueError for invalid values.
Source: libvirt 9.0 formatnwfilter, "Supported protocols"; corpus/nwfilter.jsonl.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from conf.types.ip_address import any_form, usual_form
from conf.types.mac import parse_mac

AttributeType = Callable[[str], str]

ETHER_TYPES: Final = {"ipv4": 0x800, "ipv6": 0x86DD, "arp": 0x806, "rarp": 0x8035, "vlan": 0x8100}
ARP_OPERATIONS: Final = {
    "Request": 1,
    "Reply": 2,
    "Request_Reverse": 3,
    "Reply_Reverse": 4,
    "DRARP_Request": 5,
    "DRARP_Reply": 6,
    "DRARP_Error": 7,
    "InARP_Request": 8,
    "ARP_NAK": 9,
}
IP_PROTOCOLS: Final = {
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "esp": 50,
    "ah": 51,
    "icmp": 1,
    "igmp": 2,
    "sctp": 132,
    "icmpv6": 58,
}
STATES: Final = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "NONE")
FLAGS: Final = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
MAX_COMMENT: Final = 256
LAST_LENGTH: Final = 0x5FF  # an EtherType that small is a frame's length

VARIABLE: Final = re.compile(r"\$([A-Za-z0-9_]+)\s*(?:\[\s*(@?)\s*([0-9]{1,9})\s*\])?\s*")
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}")
_SET: Final = re.compile(r"[A-Za-z0-9_.:+\-]{1,31}")
_SET_FLAGS: Final = re.compile(r"(src|dst)(,(src|dst)){0,5}")


def variable(text: str) -> str | None:
    """Format a reference to a variable; None: the text is none."""
    match = VARIABLE.fullmatch(text)
    if match is None:
        return None
    name, at, number = match.groups()
    return f"${name}" if number is None else f"${name}[{at}{int(number)}]"


def number(
    highest: int, names: Mapping[str, int] | None = None, *, lowest: int = 0
) -> AttributeType:
    """Make the type of a number, which stays decimal or hexadecimal, or a name."""
    by_number = {value: name for name, value in (names or {}).items()}
    by_name = {name.lower(): name for name in names or {}}

    def read(text: str) -> str:
        if text.lower() in by_name:
            return by_name[text.lower()]
        if _NUMBER.fullmatch(text) is None:
            raise ValueError(text)
        hexadecimal = text[:2] in ("0x", "0X")
        value = int(text, 16) if hexadecimal else int(text)
        if not lowest <= value <= highest:
            raise ValueError(text)
        if value in by_number:
            return by_number[value]
        return f"0x{value:x}" if hexadecimal else str(value)

    return read


def mac(text: str) -> str:
    """Parse a MAC address or mask."""
    return parse_mac(text)


def ipv4(text: str) -> str:
    """Parse an IPv4 address."""
    address = any_form(text)
    if address.version != 4:
        raise ValueError(text)
    return usual_form(address)


def ipv6(text: str) -> str:
    """Parse an IPv6 address; an IPv4-mapped one is formatted as such."""
    address = IPv6Address(text)
    mapped = address.ipv4_mapped
    return f"::ffff:{mapped}" if mapped is not None else str(address)


def mask4(text: str) -> str:
    """Parse an IPv4 mask: a prefix length, or dotted."""
    return (
        text if text.isdecimal() and int(text) <= 32 else str(_length(int(IPv4Address(text)), 32))
    )


def mask6(text: str) -> str:
    """Parse an IPv6 mask."""
    if text.isdecimal() and int(text) <= 128:
        return text
    return str(_length(int(IPv6Address(text)), 128))


def truth(text: str) -> str:
    """Parse a boolean; libvirt takes every other word as false."""
    return "true" if text in ("true", "yes", "1") else "false"


def comment(text: str) -> str:
    """Cut a comment to libvirt's length."""
    return text[:MAX_COMMENT]


def states(text: str) -> str:
    """Parse connection states; none at all is as no attribute."""
    names = set(re.split(r"[,\s]+", text.upper())) - {""}
    if not names <= set(STATES):
        raise ValueError(text)
    return "NONE" if "NONE" in names else ",".join(state for state in STATES if state in names)


def tcp_flags(text: str) -> str:
    """Parse TCP flags, "MASK/SET"."""
    looked, separator, flags = text.partition("/")
    if not separator:
        raise ValueError(text)
    return f"{_flags(looked)}/{_flags(flags)}"


def ipset(text: str) -> str:
    """Parse the name of an ipset."""
    if _SET.fullmatch(text) is None:
        raise ValueError(text)
    return text


def ipset_flags(text: str) -> str:
    """Parse the directions of an ipset match."""
    if _SET_FLAGS.fullmatch(text.lower()) is None:
        raise ValueError(text)
    return text.lower()


ETHER_TYPE: Final = number(0xFFFF, ETHER_TYPES, lowest=LAST_LENGTH + 1)
ARP_OPERATION: Final = number(0xFFFF, ARP_OPERATIONS)
IP_PROTOCOL: Final = number(0xFF, IP_PROTOCOLS)
U8: Final = number(0xFF)
U16: Final = number(0xFFFF)
U32: Final = number(0xFFFFFFFF)
DSCP: Final = number(0x3F)
VLAN: Final = number(0xFFF)


def _flags(text: str) -> str:
    names = [name.strip() for name in text.upper().split(",") if name.strip()]
    if "ALL" in names:
        return "ALL"
    if not set(names) <= {*FLAGS, "NONE"}:
        raise ValueError(text)
    return ",".join(flag for flag in FLAGS if flag in names) or "NONE"


def _length(bits: int, width: int) -> int:
    length = bits.bit_count()
    if bits != ((1 << length) - 1) << (width - length):
        raise ValueError(bits)
    return length
