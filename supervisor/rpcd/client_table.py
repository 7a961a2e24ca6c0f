"""The connected clients of one server: how many there may be, and events to all of them.

Owns: the set of clients, their ids and the limits. May touch: the bus, to report that clients came
and went. May not touch: sockets, calls.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from conf.settings import DaemonConfig
from ipc import Node, handles
from supervisor.messages.calls import ClientClosed, ClientEvent
from supervisor.messages.root import KeepRunning
from supervisor.messages.rpcd import ClientList, ListClients
from supervisor.rpcd.auth.authentication import Authentication
from supervisor.rpcd.buffer_budget import BufferBudget
from supervisor.rpcd.turns import Turns

RESERVED: Final = 16  # places of each socket that only administrators get
RESERVED_SHARE: Final = 10  # but at most one in so many
AUTHENTICATORS: Final = ("authd",)
IDLE_S: Final = 0.2  # without a client before the root is told: programs often open one again


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What libvirtd.conf allows the clients of one server."""

    max_clients: int
    max_anonymous_clients: int  # whose authentication is not complete
    max_client_requests: int  # calls of one client that run at a time
    keepalive_interval: int  # seconds; 0 or less: clients are not pinged
    keepalive_count: int

    @classmethod
    def of_admin(cls, config: DaemonConfig) -> Limits:
        """Read the limits of the admin server from libvirtd.conf."""
        return cls(
            max_clients=config.admin_max_clients,
            max_anonymous_clients=0,  # its socket demands no authentication
            max_client_requests=config.admin_max_client_requests,
            keepalive_interval=config.admin_keepalive_interval,
            keepalive_count=config.admin_keepalive_count,
        )

    @classmethod
    def from_config(cls, config: DaemonConfig) -> Limits:
        """Read the limits of the main server from libvirtd.conf."""
        return cls(
            max_clients=config.max_clients,
            max_anonymous_clients=config.max_anonymous_clients,
            max_client_requests=config.max_client_requests,
            keepalive_interval=config.keepalive_interval,
            keepalive_count=config.keepalive_count,
        )


class ClientHandle(Protocol):
    """A client, as the table needs it."""

    identifier: str
    services: set[str]  # processes that its calls went to
    read_only: bool

    @property
    def name(self) -> str:
        """How log lines call it."""

    @property
    def authentication(self) -> Authentication:
        """How far its authentication is."""

    def deliver(self, event: ClientEvent) -> None:
        """Send an event if the client registered for it."""

    def close(self) -> None:
        """Close the connection now."""


class ClientTable:
    """The clients of one server."""

    def __init__(self, node: Node, limits: Limits, *, keeps_running: bool = True) -> None:
        """Make an empty table.

        Args:
            node: of the process.
            limits: of the server.
            keeps_running: whether its clients keep the daemon from ending by --timeout.
        """
        self._keeps_running = keeps_running
        self.limits = limits  # replaced when the configuration is reloaded
        self.clients: set[ClientHandle] = set()
        self.budget = BufferBudget()
        self.turns = Turns()
        self.on_client_closed: list[Callable[[], None]] = []
        self._node = node
        self._instance = os.urandom(6).hex()
        self._count = 0
        self._readers = 0  # clients of the read-only socket
        self._idle: asyncio.TimerHandle | None = None  # runs while there is none

    def has_room(self, *, read_only: bool, administrator: bool) -> bool:
        """Return whether another client fits.

        Anybody on the host may open the read-only socket: its clients get half of max_clients at
        most. The last places of both sockets are kept for administrators, who could not help else.
        """
        most = self.limits.max_clients
        if len(self.clients) >= most - reserved(most, administrator=administrator):
            return False
        if not read_only:
            return True
        most = max(1, most // 2)
        return self._readers < most - reserved(most, administrator=administrator)

    def may_connect(self, authentication: Authentication) -> bool:
        """Return whether another client may come in: few whose authentication is not complete."""
        return authentication.is_complete or self.may_wait(0)

    def may_wait(self, handshakes: int) -> bool:
        """Return whether one more client may be neither refused nor authenticated.

        Args:
            handshakes: clients whose TLS handshake is under way, and which are not in the table.
        """
        anonymous = sum(not client.authentication.is_complete for client in self.clients)
        return anonymous + handshakes < self.limits.max_anonymous_clients

    def next_number(self) -> int:
        """Return the number of a new client."""
        self._count += 1
        return self._count

    def identifier(self, number: int) -> str:
        """Name a client: unique in this process's life and across restarts."""
        return f"{self._instance}-{number}"

    def change_limits(self, *, max_clients: int, max_anonymous_clients: int) -> None:
        """Change how many clients there may be; those that there are stay."""
        self.limits = replace(
            self.limits, max_clients=max_clients, max_anonymous_clients=max_anonymous_clients
        )
        for callback in self.on_client_closed:  # the listeners accept again, or no more
            callback()

    def add(self, client: ClientHandle) -> None:
        """Record that a client connected."""
        self.clients.add(client)
        self._readers += client.read_only
        if len(self.clients) == 1 and self._keeps_running:
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            else:
                self._node.control.send(KeepRunning(busy=True, why="clients are connected"))

    def remove(self, client: ClientHandle) -> None:
        """Record that a client's connection is closed."""
        self.clients.remove(client)
        self._readers -= client.read_only
        # The others have nothing of it that they could release, and need not wake up.
        processes = {
            *client.services,
            *(AUTHENTICATORS if client.authentication.is_under_way else ()),
        }
        if processes:
            self._node.publish(ClientClosed(client=client.identifier), processes)
        if not self.clients and self._keeps_running:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._report_idle)
        for callback in self.on_client_closed:
            callback()

    def _report_idle(self) -> None:
        self._idle = None
        self._node.control.send(KeepRunning(busy=False, why="no client is connected"))

    def deliver(self, event: ClientEvent) -> None:
        """Send an event to every client that registered for it."""
        for client in list(self.clients):
            client.deliver(event)

    def close(self) -> None:
        """Close every connection."""
        for client in list(self.clients):
            client.close()
        if self._idle is not None:
            self._idle.cancel()

    @handles(ListClients)
    def list_clients(self, _: ListClients) -> ClientList:
        """List the connected clients."""
        return ClientList(identifiers=[client.identifier for client in self.clients])


def reserved(places: int, *, administrator: bool) -> int:
    """Return how many of a socket's places a client may not take."""
    return 0 if administrator else min(RESERVED, places // RESERVED_SHARE)
