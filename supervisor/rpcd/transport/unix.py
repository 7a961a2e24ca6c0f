"""Clients on Unix sockets: what the kernel says of them.

Owns: reading the peer's credentials. May not touch: what clients send.
"""

from __future__ import annotations

import socket
import struct
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from supervisor.messages.calls import Identity
from supervisor.rpcd.transport.connected import SocketTransport
from supervisor.runtime.procfs import start_time

CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
GROUP: Final = struct.Struct("I")  # gid_t
MAX_GROUPS: Final = 256  # getsockopt() of Python takes 1024 bytes at most
SO_PEERGROUPS: Final = 59  # asm-generic/socket.h; Python has no name for it
SO_PEERSEC: Final = 31  # asm-generic/socket.h; Python has no name for it
SELINUX: Final = Path("/sys/fs/selinux/enforce")


def unix_transport(client: socket.socket, *, with_process: bool = False) -> SocketTransport:
    """Take over a client of a Unix socket; its bytes never leave the host.

    Args:
        client: its socket.
        with_process: find out what access control looks at, too: the client's groups, and when its
            process started, which tells it from a later one with its number.
    """
    identity = peer_identity(client)
    if with_process:
        identity = msgspec.structs.replace(
            identity,
            groups=peer_groups(client),
            process_time=start_time(identity.pid) or 0,
        )
    return SocketTransport(
        client, identity, f"pid {identity.pid} uid {identity.uid}", is_secure=True
    )


def peer_identity(client: socket.socket) -> Identity:
    """Read the peer's credentials that the kernel recorded at connect(2) (SO_PEERCRED)."""
    pid, uid, gid = CREDENTIALS.unpack(
        client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    )
    return Identity(uid=uid, gid=gid, pid=pid, selinux_context=_selinux_context(client))


def peer_groups(client: socket.socket) -> tuple[int, ...]:
    """Read the peer's further groups that the kernel recorded at connect(2) (SO_PEERGROUPS).

    More than `MAX_GROUPS` are none: a client is never taken for more than it is.
    """
    try:
        data = client.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MAX_GROUPS * GROUP.size)
    except OSError:  # ERANGE
        return ()
    return tuple(number for (number,) in GROUP.iter_unpack(data))


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
