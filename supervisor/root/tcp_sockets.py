"""The listening TCP sockets of --listen: one for each address that the host's name stands for.

Owns: what they are bound to. May not touch: connections, certificates.
Source: libvirt 9.0, virNetSocketNewListenTCP.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Mapping
from typing import Any, Final

from conf.settings import DaemonConfig

TCP: Final = "tcp"
TLS: Final = "tls"
MAX_ADDRESSES: Final = 16  # of one name

log = logging.getLogger(__name__)


class ListenError(Exception):
    """A TCP socket cannot be bound; the message names the address and the reason."""


def requested_ports(config: DaemonConfig) -> dict[str, str]:
    """Return the port or service name of each kind of socket that libvirtd.conf asks for."""
    ports = {}
    if config.listen_tcp:
        ports[TCP] = config.tcp_port
    if config.listen_tls:
        ports[TLS] = config.tls_port
    return ports


def port_of(sockets: Mapping[str, socket.socket], kind: str) -> int:
    """Return the port of the first socket of a kind; 0: there is none."""
    for name, end in sockets.items():
        if name.startswith(f"{kind}:"):
            return int(end.getsockname()[1])
    return 0


def listen_tcp(config: DaemonConfig) -> dict[str, socket.socket]:
    """Bind the sockets that libvirtd.conf asks for.

    Returns:
        The sockets by name: their kind, and a number where a kind has several.

    Raises:
        ListenError: an address cannot be resolved, or none of a kind's can be bound.
    """
    sockets: dict[str, socket.socket] = {}
    try:
        for kind, port in requested_ports(config).items():
            for number, end in enumerate(_bind_all(config, port)):
                sockets[f"{kind}:{number}"] = end
    except ListenError:
        for end in sockets.values():
            end.close()
        raise
    return sockets


def _bind_all(config: DaemonConfig, port: str) -> list[socket.socket]:
    where = f"{config.listen_addr or '*'} port {port}"
    try:
        addresses = socket.getaddrinfo(
            config.listen_addr or None,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ListenError(f"cannot listen on {where}: {reason}") from error
    sockets: list[socket.socket] = []
    last: OSError | None = None
    for family, kind, protocol, _name, address in addresses[:MAX_ADDRESSES]:
        try:
            sockets.append(_bind(family, kind, protocol, address, config.max_queued_clients))
        except OSError as error:
            # A host without IPv6 still resolves "::"; libvirt, too, needs one address only.
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                last = error
    if last is not None or not sockets:
        for end in sockets:
            end.close()
        reason = last.strerror if last is not None else "the host has no such address"
        raise ListenError(f"cannot listen on {where}: {reason}") from last
    return sockets


def _bind(
    family: int, kind: int, protocol: int, address: tuple[Any, ...], queue: int
) -> socket.socket:
    end = socket.socket(family, kind, protocol)
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # IPv4 has a socket of its own: a dual one would refuse its bind.
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        end.bind(address)
        end.listen(queue)
    except OSError:
        end.close()
        raise
    return end
