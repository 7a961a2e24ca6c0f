"""Clients on TCP: where they come from.

Owns: the options of their sockets. May not touch: what clients send.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final

from supervisor.messages.calls import Identity
from supervisor.rpcd.transport.connected import SocketTransport

NOBODY: Final = Identity()  # TCP itself proves nothing about its client


def tcp_transport(client: socket.socket) -> SocketTransport:
    """Take over a client of a TCP socket; anybody on the way can read along."""
    with contextlib.suppress(OSError):  # the client is gone already: reading will tell
        # A reply must not wait until the client acknowledges the one before it.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A client whose host was switched off is found by the kernel, too.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    ends = (_address(client.getsockname), _address(client.getpeername))
    return SocketTransport(client, NOBODY, peer_name(client), is_secure=False, addresses=ends)


def _address(get: Callable[[], tuple[Any, ...]]) -> str:
    """Return an end's address as SASL writes it, "192.0.2.7;41234"; "" if it is gone."""
    try:
        host, port = get()[:2]
    except OSError:
        return ""
    return f"{host};{port}"


def peer_name(client: socket.socket) -> str:
    """Return the client's address and port for log lines: "192.0.2.7:41234"."""
    try:
        host, port = client.getpeername()[:2]
    except OSError:  # ENOTCONN
        return "a client that is gone"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
