"""Clients on Unix sockets: what the kernel says of them.

Owns: reading the peer's credentials. May not touch: what clients send.
"""

from __future__ import annotations

import socket
import struct
from functools import cache
from pathlib import Path
from typing import Final

from supervisor.messages.calls import Identity
from supervisor.rpcd.transport.connected import SocketTransport

CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
SO_PEERSEC: Final = 31  # asm-generic/socket.h; Python has no name for it
SELINUX: Final = Path("/sys/fs/selinux/enforce")


def unix_transport(client: socket.socket) -> SocketTransport:
    """Take over a client of a Unix socket; its bytes never leave the host."""
    identity = peer_identity(client)
    return SocketTransport(
        client, identity, f"pid {identity.pid} uid {identity.uid}", is_secure=True
    )


def peer_identity(client: socket.socket) -> Identity:
    """Read the peer's credentials that the kernel recorded at connect(2) (SO_PEERCRED)."""
    pid, uid, gid = CREDENTIALS.unpack(
        client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    )
    return Identity(uid=uid, gid=gid, pid=pid, selinux_context=_selinux_context(client))


def _selinux_context(client: socket.socket) -> str:
    """Read the peer's SELinux context; "" without SELinux: other LSMs use the option, too."""
    if not _has_selinux():
        return ""
    try:
        label = client.getsockopt(socket.SOL_SOCKET, SO_PEERSEC, 256)
    except OSError:  # ENOPROTOOPT: the socket has no label
        return ""
    return label.rstrip(b"\0").decode(errors="replace")


@cache
def _has_selinux() -> bool:
    return SELINUX.exists()
