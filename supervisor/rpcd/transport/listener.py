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

from supervisor.rpcd.client import Credentials, Session
from supervisor.rpcd.router import Front
from supervisor.rpcd.transport.unix import Channel

CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
ACCEPTS: Final = 32  # of one turn, so that a flood of new clients leaves the others their turn

log = logging.getLogger(__name__)


class Listener:
    """One listening Unix socket."""

    def __init__(self, front: Front, listening: socket.socket, *, read_only: bool) -> None:
        """Begin to accept."""
        self._front = front
        self._socket = listening
        self._read_only = read_only
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        listening.settimeout(0)
        front.on_room.append(self.consider)
        self.consider()

    def consider(self) -> None:
        """Accept while there is room; beyond max_clients new ones wait in the kernel's queue."""
        room = len(self._front.sessions) < self._front.config.max_clients
        if room == self._accepting:
            return
        self._accepting = room
        if room:
            self._loop.add_reader(self._socket.fileno(), self._acceptable)
        else:
            self._loop.remove_reader(self._socket.fileno())
            log.warning("max_clients (%d) are connected", self._front.config.max_clients)

    def close(self) -> None:
        """Accept no more; the root keeps the socket open for our successor."""
        self._front.on_room.remove(self.consider)
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
            self._welcome(client)
            self.consider()
            if not self._accepting:
                return

    def _welcome(self, client: socket.socket) -> None:
        pid, uid, gid = CREDENTIALS.unpack(
            client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        )
        if not self._front.has_room_for(uid, read_only=self._read_only):
            limit = self._front.config.max_anonymous_clients
            log.warning(
                "pid %d uid %d is hung up on: max_anonymous_clients (%d) are waiting for their "
                "authentication",
                *(pid, uid, limit),
            )
            client.close()
            return
        credentials = Credentials(uid=uid, gid=gid, pid=pid)
        channel = Channel(client, f"pid {pid} uid {uid}")
        Session(self._front, channel, credentials, read_only=self._read_only)
