"""One server of the daemon, as virNetServer: programs, the sockets they are offered on, limits.

Owns: its listening sockets and its clients.
May touch: transports of the clients that it accepts. May not touch: what clients send.

rpcd runs one, for libvirt's API. Another, such as the admin program on its own socket, is another
`Server` with other programs: no call of one is reachable on the sockets of the other.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from conf.settings import DaemonConfig
from ipc import Node
from supervisor.rpcd.auth.sasl import SaslService
from supervisor.rpcd.auth.schemes import start_authentication
from supervisor.rpcd.client import ServerClient
from supervisor.rpcd.client_table import ClientTable, Limits
from supervisor.rpcd.programs import Programs
from supervisor.rpcd.router import Router
from supervisor.rpcd.tls_acceptor import TlsAcceptor
from supervisor.rpcd.transport.listener import Admission, Listener
from supervisor.rpcd.transport.tcp import tcp_transport
from supervisor.rpcd.transport.transport import Transport
from supervisor.rpcd.transport.unix import unix_transport

ROOT: Final = 0  # its uid
UNIX: Final = ("rw", "ro", "admin")  # kinds of sockets

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SocketPolicy:
    """What a client may do because of the socket that it connected to."""

    auth: str  # the scheme of libvirtd.conf: "none", "polkit", "sasl"
    read_only: bool
    administrators_only: bool = False  # whatever the socket's mode is


def socket_policies(config: DaemonConfig) -> dict[str, SocketPolicy]:
    """Choose the policy of each kind of socket of the main server."""
    return {
        "rw": SocketPolicy(config.auth_unix_rw, read_only=False),
        "ro": SocketPolicy(config.auth_unix_ro, read_only=True),
        "tcp": SocketPolicy(config.auth_tcp, read_only=False),
        "tls": SocketPolicy(config.auth_tls, read_only=False),
    }


class Server:
    """Programs on sockets, with limits."""

    def __init__(
        self,
        node: Node,
        programs: Programs,
        router: Router,
        limits: Limits,
        policies: Mapping[str, SocketPolicy],
        *,
        keeps_running: bool = True,
    ) -> None:
        self.clients = ClientTable(node, limits, keeps_running=keeps_running)
        self.listens_for_tls = False
        self.policies = policies  # by kind; replaced when the configuration is reloaded
        self.tls = TlsAcceptor(node)
        self.sasl = SaslService(node)
        self._programs = programs
        self._router = router
        self._administrators = {ROOT} | ({os.geteuid()} if router.session else set())
        self._node = node
        self._listeners: list[Listener] = []
        router.on_event.append(self.clients.deliver)

    def listen(self, name: str, listening: socket.socket) -> None:
        """Take a listening socket over and accept clients on it under the policy of its kind.

        Args:
            name: the root's for it: its kind, and a number where a kind has several.
            listening: the socket.
        """
        kind = name.partition(":")[0]
        self.listens_for_tls = self.listens_for_tls or kind == "tls"

        def admit(transport: Transport) -> None:
            self.accept(transport, self.policies[kind])

        def accept(transport: Transport) -> None:
            if kind != "tls":
                admit(transport)
            elif self.clients.may_wait(len(self.tls.pending)):
                self.tls.accept(transport, admit)
            else:
                self._turn_away(transport)

        administrators = self._administrators if kind in UNIX else frozenset()
        admission = Admission(self.clients, administrators, self.policies[kind].read_only)
        connect = self.connect_unix if kind in UNIX else tcp_transport
        self._listeners.append(Listener(listening, admission, connect, accept))

    def connect_unix(self, client: socket.socket) -> Transport:
        """Make the transport of a client of a Unix socket."""
        return unix_transport(client, with_process=self._router.access is not None)

    def accept(self, transport: Transport, policy: SocketPolicy) -> None:
        """Serve a client, or close it when too many clients are not authenticated."""
        if policy.administrators_only and transport.identity.uid not in self._administrators:
            log.warning("%s is closed: the admin socket is for root alone", transport.name)
            transport.close()
            return
        number = self.clients.next_number()
        authentication = start_authentication(
            policy.auth,
            transport,
            self._node,
            self.sasl,
            self.clients.identifier(number),
            read_only=policy.read_only,
            session=self._router.session,
        )
        if not self.clients.may_connect(authentication):
            self._turn_away(transport)
            return
        ServerClient(
            self.clients,
            self._programs,
            self._router,
            transport,
            authentication,
            number,
            read_only=policy.read_only,
        )

    def _turn_away(self, transport: Transport) -> None:
        log.warning(
            "%s is closed: max_anonymous_clients (%d) are waiting for their authentication",
            *(transport.name, self.clients.limits.max_anonymous_clients),
        )
        transport.close()

    def close(self) -> None:
        """Accept no more and close every client."""
        self.tls.close()
        for listener in self._listeners:
            listener.close()
        self.clients.close()
