"""Switchboard: the root's side of the bus, which connects processes to each other by name.

Owns: the control link of every child. May not touch: what processes send to each other.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from ipc.context import current_call
from ipc.descriptor import Descriptor
from ipc.errors import ErrorCodec, NoSuchService, NullErrorCodec
from ipc.handlers import Handlers
from ipc.held_events import HeldEvents
from ipc.messages import Connect, LinkGranted, LinkOffer, handles
from ipc.peer import Peer

WAIT_S: Final = 25.0  # for a service that is (re)starting; the caller's deadline may be shorter


class Switchboard:
    """The processes by name."""

    def __init__(self, errors: ErrorCodec | None = None) -> None:
        self.handlers = Handlers()
        self.errors: ErrorCodec = errors or NullErrorCodec()
        self.held_events = HeldEvents()
        self.on_reply_lost: list[Callable[[], None]] = []
        #: Whether a process of that name may become ready; others are refused at once.
        self.expects: Callable[[str], bool] = lambda _: True
        self._peers: dict[str, Peer] = {}
        self._ready: set[str] = set()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self.handlers.add(self)

    def serve(self, target: object) -> None:
        """Register the handlers of an object."""
        self.handlers.add(target)

    def attach(self, end: socket.socket, name: str) -> Peer:
        """Take over the control link of a child that was just spawned."""
        peer = Peer(end, name, self)
        self._peers[name] = peer
        self._ready.discard(name)
        peer.on_lost.append(self._lost)
        return peer

    def peer(self, name: str) -> Peer | None:
        """Return the control link of a running process."""
        return self._peers.get(name)

    def is_ready(self, name: str) -> bool:
        """Return whether the process accepts links."""
        return name in self._ready

    def mark_ready(self, name: str) -> None:
        """Record that the process accepts links, and connect those that wait."""
        if name in self._peers:
            self._ready.add(name)
            for waiting in self._waiting.pop(name, ()):
                if not waiting.done():
                    waiting.set_result(None)

    def fail_waiting(self, name: str, reason: str) -> None:
        """Refuse every request for a process that will not become ready."""
        for waiting in self._waiting.pop(name, ()):
            if not waiting.done():
                waiting.set_exception(NoSuchService(f"there is no process '{name}': {reason}"))

    @handles(Connect)
    async def connect(self, request: Connect) -> LinkGranted:
        """Connect the calling process to a service, waiting until the service is ready."""
        name = request.service
        if not self.expects(name):
            raise NoSuchService(f"there is no process '{name}'")
        try:
            async with asyncio.timeout(WAIT_S):
                await self._wait_ready(name)
        except TimeoutError:
            raise NoSuchService(f"'{name}' was not ready in {WAIT_S:.0f} s") from None
        caller_socket, service_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        caller_end, service_end = (
            Descriptor(caller_socket.detach()),
            Descriptor(service_socket.detach()),
        )
        self._peers[name].send(LinkOffer(peer=current_call().peer, descriptor=service_end))
        return LinkGranted(descriptor=caller_end)

    async def _wait_ready(self, name: str) -> None:
        while name not in self._ready:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(name, set()).add(waiting)
            try:
                await waiting
            finally:
                others = self._waiting.get(name, set())
                others.discard(waiting)
                if not others:
                    self._waiting.pop(name, None)

    def _lost(self, peer: Peer) -> None:
        if self._peers.get(peer.name) is peer:
            del self._peers[peer.name]
            self._ready.discard(peer.name)
