"""The doors: accepting clients on the sockets that the root has bound.

Owns: the listening sockets and how many clients may be inside.
May touch: sessions it makes. May not touch: what clients say.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Final

from supervisor.rpcd.client import Credentials, ServerClient
from supervisor.rpcd.router import Router
from supervisor.rpcd.transport.unix import UnixTransport

CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
ACCEPTS: Final = 32  # of one turn, so that a flood of new clients leaves the others their turn

log = logging.getLogger(__name__)


class Listener:
    """One listening Unix socket."""

    def __init__(self, router: Router, listening: socket.socket, *, read_only: bool) -> None:
        """Begin to accept."""
        self._router = router
        self._socket = listening
        self._read_only = read_only
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        listening.settimeout(0)
        router.on_client_closed.append(self.update_accepting)
        self.update_accepting()

    def update_accepting(self) -> None:
        """Accept while there is room; beyond max_clients new ones wait in the kernel's queue."""
        room = len(self._router.clients) < self._router.config.max_clients
        if room == self._accepting:
            return
        self._accepting = room
        if room:
            self._loop.add_reader(self._socket.fileno(), self._acceptable)
        else:
            self._loop.remove_reader(self._socket.fileno())
            log.warning("max_clients (%d) are connected", self._router.config.max_clients)

    def close(self) -> None:
        """Accept no more; the root keeps the socket open for our successor."""
        self._router.on_client_closed.remove(self.update_accepting)
        if self._accepting:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _acceptable(self) -> None:
        for _ in range(ACCEPTS):
            try:
                client, _address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of descriptors, or the client has gone again
                log.warning("a client cannot be accepted: %s", error)
                return
            self._accept(client)
            self.update_accepting()
            if not self._accepting:
                return

    def _accept(self, client: socket.socket) -> None:
        pid, uid, gid = CREDENTIALS.unpack(
            client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        )
        if not self._router.may_connect(uid, read_only=self._read_only):
            limit = self._router.config.max_anonymous_clients
            log.warning(
                "pid %d uid %d is hung up on: max_anonymous_clients (%d) are waiting for their "
                "authentication",
                *(pid, uid, limit),
            )
            client.close()
            return
        credentials = Credentials(uid=uid, gid=gid, pid=pid)
        channel = UnixTransport(client, f"pid {pid} uid {uid}")
        ServerClient(self._router, channel, credentials, read_only=self._read_only)
