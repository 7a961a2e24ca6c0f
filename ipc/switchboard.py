"""The root's side of the bus: who is up, and linking one process to another.

Owns: the control link of every child. May not touch: what processes say to each other.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from ipc.calling import caller
from ipc.descriptor import Descriptor
from ipc.errors import ErrorCodec, NoErrors, NoSuchService
from ipc.handling import Handlers
from ipc.messages import Connect, Connected, Incoming, handles
from ipc.peer import Peer

WAIT_S: Final = 25.0  # for a service that is being (re)started; callers' deadlines are shorter


class Switchboard:
    """Knows the processes by name and gives them links to each other."""

    def __init__(self, errors: ErrorCodec | None = None) -> None:
        """Know nobody yet."""
        self.handlers = Handlers()
        self.errors: ErrorCodec = errors or NoErrors()
        #: Whether a process of that name may come up: asks for others are refused at once.
        self.expects: Callable[[str], bool] = lambda _: True
        self._peers: dict[str, Peer] = {}
        self._changed = asyncio.Condition()
        self._ready: set[str] = set()
        self.handlers.add(self)

    def serve(self, target: object) -> None:
        """Answer the messages that the object's marked methods handle."""
        self.handlers.add(target)

    def attach(self, end: socket.socket, name: str) -> Peer:
        """Take the control link of a child that has just been spawned."""
        peer = Peer(end, name, self)
        self._peers[name] = peer
        self._ready.discard(name)
        peer.on_lost.append(self._lost)
        return peer

    def peer(self, name: str) -> Peer | None:
        """The control link of a process that is up."""
        return self._peers.get(name)

    def mark_ready(self, name: str) -> None:
        """The process answers from now on."""
        self._ready.add(name)
        asyncio.get_running_loop().create_task(self._tell())

    @handles(Connect)
    async def connect(self, request: Connect) -> Connected:
        """Link the calling process to a service, waiting until the service is ready."""
        if not self.expects(request.service):
            raise NoSuchService(f"there is no process '{request.service}'")
        try:
            async with asyncio.timeout(WAIT_S), self._changed:
                await self._changed.wait_for(lambda: request.service in self._ready)
        except TimeoutError:
            detail = f"'{request.service}' did not come up in {WAIT_S:.0f} s"
            raise NoSuchService(detail) from None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        incoming = Incoming(peer=caller().peer, descriptor=Descriptor(theirs.detach()))
        self._peers[request.service].send(incoming)
        return Connected(descriptor=Descriptor(ours.detach()))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _lost(self, peer: Peer) -> None:
        if self._peers.get(peer.name) is peer:
            del self._peers[peer.name]
            self._ready.discard(peer.name)
