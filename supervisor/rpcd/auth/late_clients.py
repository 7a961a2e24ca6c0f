"""Clients that do not authenticate: closed after a while, for each holds a place of few.

Owns: how long a client may take (max_anonymous_clients are let in at a time).
May touch: the clients of one server. May not touch: their authentication.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from supervisor.rpcd.auth.authentication import Authentication

LIMIT_S: Final = 180.0  # polkit's agents give a user two minutes for a password
SWEEP_S: Final = 5.0

log = logging.getLogger(__name__)


class WaitingClient(Protocol):
    """A client."""

    @property
    def authentication(self) -> Authentication:
        """How far it is."""

    @property
    def name(self) -> str:
        """How log lines call it."""

    def close(self) -> None:
        """Close its connection now."""


class LateClients:
    """Watches the clients of one server."""

    def __init__(
        self, clients: Callable[[], Collection[WaitingClient]], now: Callable[[], float]
    ) -> None:
        """Watch.

        Args:
            clients: returns those that are connected.
            now: a clock in seconds that is never set.
        """
        self._clients = clients
        self._now = now
        self._first_seen: WeakKeyDictionary[WaitingClient, float] = WeakKeyDictionary()

    def sweep(self) -> None:
        """Close those that have been seen without authentication for longer than the limit."""
        for client in list(self._clients()):
            if client.authentication.is_complete:
                continue
            since = self._first_seen.setdefault(client, self._now())
            if self._now() - since > LIMIT_S:
                log.warning(
                    "client %s is closed: it has not authenticated in %.0f s", client.name, LIMIT_S
                )
                client.close()

    async def watch(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()
