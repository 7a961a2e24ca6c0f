"""Accepts clients on a listening socket that the root has bound.

Owns: the listening socket. May touch: how many clients there are.
May not touch: what clients send.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from supervisor.rpcd.client_table import ClientTable

MAX_ACCEPTS: Final = 32  # in one turn of the loop: new clients must not starve the others

log = logging.getLogger(__name__)


class Listener:
    """One listening socket."""

    def __init__(
        self,
        listening: socket.socket,
        clients: ClientTable,
        on_connect: Callable[[socket.socket], None],
        *,
        read_only: bool,
    ) -> None:
        """Take the socket over and begin to accept."""
        self._read_only = read_only
        self._socket = listening
        self._clients = clients
        self._on_connect = on_connect
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        listening.settimeout(0)
        clients.on_client_closed.append(self.update_accepting)
        self.update_accepting()

    def update_accepting(self) -> None:
        """Accept while there is room; beyond it new clients wait in the kernel's backlog."""
        has_room = self._clients.has_room(read_only=self._read_only)
        if has_room == self._accepting:
            return
        self._accepting = has_room
        if has_room:
            self._loop.add_reader(self._socket.fileno(), self._acceptable)
        else:
            self._loop.remove_reader(self._socket.fileno())
            log.warning(
                "%s: max_clients (%d)%s are connected",
                "read-only socket" if self._read_only else "socket",
                self._clients.limits.max_clients,
                ", or half as many read-only ones," if self._read_only else "",
            )

    def close(self) -> None:
        """Accept no more; the root keeps the socket open for the next rpcd."""
        self._clients.on_client_closed.remove(self.update_accepting)
        if self._accepting:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _acceptable(self) -> None:
        for _ in range(MAX_ACCEPTS):
            try:
                client, _address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of descriptors, or the client has disconnected again
                log.warning("a client cannot be accepted: %s", error)
                return
            self._on_connect(client)
            self.update_accepting()
            if not self._accepting:
                return
