"""Accepts clients on a listening socket that the root has bound.

Owns: the listening socket, and accepted clients that wait for a place.
May touch: how many clients there are. May not touch: what clients send.

Who a client is, is known once it is accepted. So while only administrators' places are left, others
are accepted too, and wait here unread; beyond MAX_WAITING they are closed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from supervisor.rpcd.client_table import ClientTable
from supervisor.rpcd.transport.transport import Transport

MAX_ACCEPTS: Final = 32  # in one turn of the loop: new clients must not starve the others
MAX_WAITING: Final = 64  # accepted clients without a place

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may come in through one socket."""

    clients: ClientTable
    administrators: Collection[int]  # uids for which the last places are kept
    read_only: bool

    def has_room_for(self, uid: int | None) -> bool:
        """Return whether a user's client fits; None: it is not known whose it is."""
        administrator = uid in self.administrators
        return self.clients.has_room(read_only=self.read_only, administrator=administrator)

    def has_room(self) -> bool:
        """Return whether a client of anybody fits."""
        administrator = bool(self.administrators)
        return self.clients.has_room(read_only=self.read_only, administrator=administrator)

    @property
    def socket_name(self) -> str:
        """How log lines call the socket."""
        return "read-only socket" if self.read_only else "socket"


class Listener:
    """One listening socket."""

    def __init__(
        self,
        listening: socket.socket,
        admission: Admission,
        connected: Callable[[socket.socket], Transport],
        on_connect: Callable[[Transport], None],
    ) -> None:
        """Take the socket over and begin to accept."""
        self._socket = listening
        self._admission = admission
        self._connected = connected
        self._on_connect = on_connect
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        self._waiting: deque[tuple[socket.socket, Transport]] = deque()
        listening.settimeout(0)
        admission.clients.on_client_closed.append(self._client_closed)
        self._update_accepting()

    def close(self) -> None:
        """Accept no more; the root keeps the socket open for the next rpcd."""
        self._admission.clients.on_client_closed.remove(self._client_closed)
        if self._accepting:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        while self._waiting:
            self._waiting.popleft()[1].close()

    def _client_closed(self) -> None:
        while self._waiting and self._admission.has_room_for(self._waiting[0][1].identity.uid):
            _, transport = self._waiting.popleft()
            self._on_connect(transport)
        self._update_accepting()

    def _update_accepting(self) -> None:
        """Accept while there is room; beyond it new clients wait in the kernel's backlog."""
        has_room = self._admission.has_room()
        if has_room == self._accepting:
            return
        self._accepting = has_room
        if has_room:
            self._loop.add_reader(self._socket.fileno(), self._acceptable)
        else:
            self._loop.remove_reader(self._socket.fileno())
            self._log_full()

    def _log_full(self) -> None:
        log.warning(
            "%s: max_clients (%d)%s are connected",
            self._admission.socket_name,
            self._admission.clients.limits.max_clients,
            ", or half as many read-only ones," if self._admission.read_only else "",
        )

    def _acceptable(self) -> None:
        for _ in range(MAX_ACCEPTS):
            try:
                client, _address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of descriptors, or the client has disconnected again
                log.warning("a client cannot be accepted: %s", error)
                return
            self._admit(client)
            self._update_accepting()
            if not self._accepting:
                return

    def _admit(self, client: socket.socket) -> None:
        transport = self._connected(client)
        if self._admission.has_room_for(transport.identity.uid):
            self._on_connect(transport)
            return
        if not self._waiting:
            self._log_full()
        if len(self._waiting) >= MAX_WAITING:
            self._drop_gone()
        if len(self._waiting) >= MAX_WAITING:
            transport.close()
        else:
            self._waiting.append((client, transport))

    def _drop_gone(self) -> None:
        """Forget waiting clients that have disconnected: they would keep others out."""
        for waiting in list(self._waiting):
            if has_disconnected(waiting[0]):
                self._waiting.remove(waiting)
                waiting[1].close()


def has_disconnected(client: socket.socket) -> bool:
    """Return whether an unread client has closed its end; what it sent stays unread."""
    try:
        return not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
