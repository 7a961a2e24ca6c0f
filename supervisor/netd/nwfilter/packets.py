"""Parses Ethernet frames for a guest's IP addresses: ARP, IPv4, DHCP.

Owns: reading Ethernet, ARP, IPv4 and DHCP. Pure; a frame may hold anything.
Source: RFC 826, 791, 768, 2131, 2132.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

VLAN: Final = 0x8100
IPV4: Final = 0x0800
ARP: Final = 0x0806
UDP: Final = 17
COOKIE: Final = b"\x63\x82\x53\x63"  # where DHCP's options begin
OPTIONS_AT: Final = 236  # bytes from the beginning of a BOOTP message to the cookie
MESSAGE_TYPE: Final = 53
LEASE_TIME: Final = 51
SERVER: Final = 54
ACK: Final = 5
RELEASE: Final = 7
FOREVER: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """The guest sent a packet from an address."""

    address: str


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """A DHCP server sent the guest an ACK."""

    address: str
    server: str
    seconds: int | None  # None: for good


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """The guest sent a DHCP RELEASE."""

    address: str


AddressEvent = AddressSeen | LeaseGranted | LeaseReleased


def read_frame(frame: bytes, mac: bytes, *, to_guest: bool) -> AddressEvent | None:
    """Parse a frame on a guest's tap.

    Args:
        frame: all of it, or its beginning.
        mac: the guest's.
        to_guest: the host sent it, by the kernel's sll_pkttype: a guest cannot forge a DHCP reply.

    Returns:
        None: it carries no address, or is truncated.
    """
    try:
        return _ethernet(frame, mac, to_guest=to_guest)
    except (struct.error, IndexError, ValueError):
        return None


def _ethernet(frame: bytes, mac: bytes, *, to_guest: bool) -> AddressEvent | None:
    (kind,) = struct.unpack_from(">H", frame, 12)
    at = 14
    if kind == VLAN:
        (kind,) = struct.unpack_from(">H", frame, 16)
        at = 18
    if not to_guest and frame[6:12] != mac:
        return None
    if kind == ARP:
        return None if to_guest else _arp(frame[at:], mac)
    return _ipv4(frame[at:], mac, sent=not to_guest) if kind == IPV4 else None


def _arp(packet: bytes, mac: bytes) -> AddressEvent | None:
    hardware, protocol, hlen, plen, _ = struct.unpack_from(">HHBBH", packet)
    if (hardware, protocol, hlen, plen) != (1, IPV4, 6, 4) or packet[8:14] != mac:
        return None
    return _used(packet[14:18])


def _ipv4(packet: bytes, mac: bytes, *, sent: bool) -> AddressEvent | None:
    header = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or header < 20 or len(packet) < header:
        return None
    (fragment,) = struct.unpack_from(">H", packet, 6)
    first = fragment & 0x1FFF == 0
    if packet[9] == UDP and first:
        source, destination = struct.unpack_from(">HH", packet, header)
        if {source, destination} == {67, 68}:
            return _dhcp(packet[header + 8 :], mac, sent=sent)
    return _used(packet[12:16]) if sent else None


def _used(raw: bytes) -> AddressSeen | None:
    address = IPv4Address(raw)
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return None
    return AddressSeen(str(address))


def _dhcp(message: bytes, mac: bytes, *, sent: bool) -> AddressEvent | None:
    if message[28:34] != mac or message[OPTIONS_AT : OPTIONS_AT + 4] != COOKIE:
        return None
    options = _options(message[OPTIONS_AT + 4 :])
    kind = options.get(MESSAGE_TYPE, b"\0")[0]
    if sent and kind == RELEASE:
        return LeaseReleased(str(IPv4Address(message[12:16])))
    if sent or kind != ACK or message[0] != 2:
        return None
    address = IPv4Address(message[16:20])
    if address.is_unspecified:
        return None  # an answer to DHCPINFORM gives no address
    (seconds,) = struct.unpack(">I", options.get(LEASE_TIME, struct.pack(">I", FOREVER)))
    server = str(IPv4Address(options[SERVER])) if len(options.get(SERVER, b"")) == 4 else ""
    return LeaseGranted(str(address), server, None if seconds == FOREVER else seconds)


def _options(raw: bytes) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    at = 0
    while at < len(raw) and raw[at] != 255:
        if raw[at] == 0:
            at += 1
            continue
        size = raw[at + 1]
        options[raw[at]] = raw[at + 2 : at + 2 + size]
        at += 2 + size
    return options
