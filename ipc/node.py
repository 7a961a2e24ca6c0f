"""This process's place on the bus: the link to the root, links to services, what it answers.

Owns: every link of the process and the subscriptions that outlive them.
May touch: the root, to be linked. May not touch: what messages mean.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final, TypeVar

from ipc.errors import BusError, DeadlineExceeded, ErrorCodec, NoErrors, NoSuchService, PeerGone
from ipc.handling import Handlers
from ipc.messages import Connect, Event, Incoming, Request, Subscribe, handles, tag_of
from ipc.peer import Peer

R = TypeVar("R")
E = TypeVar("E", bound=Event)

CONNECT_S: Final = 30.0  # the longest that the root may look for a service
SUBSCRIBE_S: Final = 10.0
RETRY_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # pauses between attempts to link anew

log = logging.getLogger(__name__)


class Node:
    """Built on the process's control link to the root."""

    def __init__(self, control: socket.socket, name: str, errors: ErrorCodec | None = None) -> None:
        """Take the control link over.

        Args:
            control: our end of the socket pair that the root made.
            name: what this process is called.
            errors: how the services' exceptions cross.
        """
        self.name = name
        self.handlers = Handlers()
        self.errors: ErrorCodec = errors or NoErrors()
        self.on_peer_lost: list[Callable[[str], None]] = []
        self._links: dict[str, Link] = {}
        self._peers: set[Peer] = set()
        self.serve(self)
        self.control = Peer(control, "root", self)

    def serve(self, target: object) -> None:
        """Answer the messages that the object's marked methods handle.

        Raises:
            ValueError: a message has a handler already.
        """
        self.handlers.add(target)

    def link(self, service: str) -> Link:
        """The way to a service; made at the first call and made anew when the service restarts."""
        if service not in self._links:
            self._links[service] = Link(self, service)
        return self._links[service]

    def publish(self, event: Event) -> None:
        """Send an event to every peer that wants its type."""
        tag = tag_of(type(event))
        for peer in list(self._peers):
            if tag not in peer.subscribed:
                continue
            try:
                peer.send(event)
            except BusError as problem:
                log.error("%s misses %s and is cut off: %s", peer.name, tag, problem)
                peer.close()

    def subscribe(self, service: str, kind: type[E], handler: Callable[[E], None]) -> None:
        """Hear the events of a type from a service, from now on and after each of its restarts.

        Raises:
            ValueError: this process has a handler for the type already.
        """
        if tag_of(kind) not in self.handlers.by_tag:
            self.handlers.add_function(kind, handler)
        self.link(service).want(tag_of(kind))

    def adopt(self, end: socket.socket, name: str) -> Peer:
        """Make a link of a connected socket."""
        peer = Peer(end, name, self)
        self._peers.add(peer)
        peer.on_lost.append(self._lost)
        return peer

    @handles(Incoming)
    def incoming(self, event: Incoming) -> None:
        """Another process has asked the root for a link to us."""
        self.adopt(socket.socket(fileno=event.descriptor.take()), event.peer)

    def close(self) -> None:
        """Close every link."""
        for link in self._links.values():
            link.close()
        for peer in list(self._peers):
            peer.close()
        self.control.close()

    def _lost(self, peer: Peer) -> None:
        self._peers.discard(peer)
        for callback in list(self.on_peer_lost):
            callback(peer.name)


class Link:
    """The way to one service by name, whichever process is that service at the moment."""

    def __init__(self, node: Node, service: str) -> None:
        """Connect at the first call."""
        self.service = service
        self._node = node
        self._peer: Peer | None = None
        self._connecting: asyncio.Task[Peer] | None = None
        self._wanted: set[str] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._closed = False

    async def call(self, request: Request[R], *, timeout_s: float) -> R:
        """Ask the service, waiting for it to come up within the deadline.

        A request that was sent is never sent again.

        Raises:
            BusError: there is no answer.
            Exception: the service's own refusal.
        """
        peer = self._peer
        if peer is None or peer.closed:
            loop = asyncio.get_running_loop()
            began = loop.time()
            peer = await self._connected(timeout_s)
            timeout_s -= loop.time() - began
        return await peer.call(request, timeout_s=timeout_s)

    def start(self, request: Request[R], timeout_s: float) -> asyncio.Future[R] | None:
        """Ask at once if the link is up; None when it is not and `call` must wait for it.

        Raises:
            BusError: nothing was sent.
        """
        peer = self._peer
        return None if peer is None or peer.closed else peer.start(request, timeout_s)

    def want(self, tag: str) -> None:
        """Keep a subscription to events of that tag."""
        self._wanted.add(tag)
        if self._peer is not None and not self._peer.closed:
            self._peer.close()  # the next one subscribes to everything that is wanted
        self._keep()

    def close(self) -> None:
        """Give the link up for good."""
        self._closed = True
        for task in (self._connecting, self._keeping):
            if task is not None:
                task.cancel()
        if self._peer is not None:
            self._peer.close()

    async def _connected(self, timeout_s: float) -> Peer:
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._connecting)
        except TimeoutError:
            detail = f"{self.service} did not come up in {timeout_s:.1f} s"
            raise DeadlineExceeded(detail) from None

    async def _connect(self) -> Peer:
        connected = await self._node.control.call(
            Connect(service=self.service), timeout_s=CONNECT_S
        )
        end = socket.socket(fileno=connected.descriptor.take())
        peer = self._node.adopt(end, self.service)
        if self._wanted:
            await peer.call(Subscribe(tags=sorted(self._wanted)), timeout_s=SUBSCRIBE_S)
            peer.on_lost.append(lambda _: self._keep())
        self._peer = peer
        return peer

    def _keep(self) -> None:
        """Have the link made again, for there are subscriptions on it."""
        if not self._closed and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._keep_linked())

    async def _keep_linked(self) -> None:
        attempt = 0
        while not self._closed and not self._node.control.closed:
            try:
                await self._connected(CONNECT_S)
            except (PeerGone, NoSuchService, DeadlineExceeded) as problem:
                log.info("no link to %s yet: %s", self.service, problem)
            else:
                return
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1
