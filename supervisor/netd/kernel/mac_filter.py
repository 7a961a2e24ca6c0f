"""tc filters that put what a bridge sends to one MAC address into a class of its own.

Owns: the message of such a filter. May touch: filters of the device it is given.
Source: linux/pkt_cls.h (u32), tc-u32(8). The destination address is before the network header, at
negative offsets, which pyroute2's u32 filter does not have.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

NEW, DELETE = 44, 45  # RTM_NEWTFILTER, RTM_DELTFILTER
ERROR: Final = 2  # NLMSG_ERROR: the kernel's answer, with errno 0 for "done"
REQUEST_ACK: Final = 0x5  # NLM_F_REQUEST, NLM_F_ACK
CREATE_EXCL: Final = 0x600  # NLM_F_CREATE, NLM_F_EXCL
KIND, OPTIONS = 1, 2  # TCA_*
CLASS_ID, SELECTOR = 1, 5  # TCA_U32_*
TERMINAL: Final = 1  # TC_U32_TERMINAL: what matches is classified
ROOT: Final = 0x10000
ALL_PROTOCOLS: Final = 0x0003
HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr
TRAFFIC: Final = struct.Struct("=BxxxiIII")  # tcmsg
REPLY_BYTES: Final = 8192


def add_message(index: int, class_id: int, mac: str) -> bytes:
    """Encode the filter of a port's MAC address; its priority is the number of its class."""
    address = bytes.fromhex(mac.replace(":", ""))
    keys = key(address[2:], b"\xff" * 4, -12) + key(b"\0\0" + address[:2], b"\0\0\xff\xff", -16)
    selector = struct.pack("=BBBxHHhhI", TERMINAL, 0, 2, 0, 0, 0, 0, 0) + keys
    options = attribute(CLASS_ID, struct.pack("=I", ROOT | class_id))
    options += attribute(SELECTOR, selector)
    return message(NEW, CREATE_EXCL, index, class_id, options)


def delete_message(index: int, class_id: int) -> bytes:
    """Encode the deletion of the filters of a class's priority, which is one."""
    return message(DELETE, 0, index, class_id)


def key(value: bytes, mask: bytes, offset: int) -> bytes:
    """Encode one comparison of four bytes, counted from the network header."""
    return mask + value + struct.pack("=ii", offset, 0)


def message(kind: int, flags: int, index: int, priority: int, options: bytes = b"") -> bytes:
    """Encode an rtnetlink message on a filter of the root discipline."""
    info = priority << 16 | socket.htons(ALL_PROTOCOLS)
    body = TRAFFIC.pack(socket.AF_UNSPEC, index, 0, ROOT, info) + attribute(KIND, b"u32\0")
    if options:
        body += attribute(OPTIONS, options)
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST_ACK | flags, 1, 0) + body


def attribute(kind: int, data: bytes) -> bytes:
    """Encode one rtattr, padded to four bytes."""
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def send(request: bytes) -> None:
    """Send a message to the kernel and wait for its answer.

    Raises:
        OSError: the kernel refuses.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.send(request)
        reply = link.recv(REPLY_BYTES)
    _, kind, *_ = HEADER.unpack_from(reply)
    (number,) = struct.unpack_from("=i", reply, HEADER.size)
    if kind == ERROR and number:
        raise OSError(-number, os.strerror(-number))
