"""Sparse streams between stord's processes and rpcd: records of data and of holes.

Owns: their form: a byte for the kind, eight for the length, then the data of a data record.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from socket import socket
from typing import Final

HEADER: Final = struct.Struct(">BQ")


class Kind(IntEnum):
    """What a record is."""

    DATA = 0
    HOLE = 1


def receive_into(end: socket, buffer: memoryview) -> int:
    """Read some bytes; 0 at the end, however it came."""
    try:
        return end.recv_into(buffer)
    except ConnectionResetError:
        return 0


def read_exactly(end: socket, count: int) -> bytes:
    """Read so many bytes; none when the end comes first."""
    found = bytearray()
    while len(found) < count:
        try:
            more = end.recv(count - len(found))
        except ConnectionResetError:
            return b""
        if not more:
            return b""
        found += more
    return bytes(found)
