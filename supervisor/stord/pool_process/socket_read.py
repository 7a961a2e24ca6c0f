"""Reading from a socket that blocks: some bytes, or exactly so many."""

from __future__ import annotations

from socket import socket


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
