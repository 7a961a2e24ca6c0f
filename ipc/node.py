"""This process's place on the bus: the link to the root, links to services, what it answers.

Owns: every link of the process. May not touch: what messages mean.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Final, TypeVar

from ipc.context import current_call
from ipc.errors import BusError, ErrorCodec, NullErrorCodec
from ipc.handlers import Handlers
from ipc.link import Link
from ipc.messages import Event, LinkOffer, handles, tag_of
from ipc.peer import Peer

E = TypeVar("E", bound=Event)

ROOT: Final = "root"  # what the control link's other end is called; no service has this name

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
        self.errors: ErrorCodec = errors or NullErrorCodec()
        #: Called with the name of a process each time that a link to it broke from its side.
        self.on_peer_lost: list[Callable[[str], None]] = []
        self._links: dict[str, Link] = {}
        self._peers: set[Peer] = set()
        self.serve(self)
        self.control = Peer(control, ROOT, self)

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

    def unlink(self, service: str) -> None:
        """Give up the way to a service that will not come back, and the subscriptions there."""
        link = self._links.pop(service, None)
        if link is not None:
            link.close()

    def publish(self, event: Event) -> None:
        """Send an event to every peer that wants its type; one that does not read is cut off."""
        tag = tag_of(type(event))
        for peer in list(self._peers):
            if tag not in peer.subscribed:
                continue
            try:
                peer.send(event)
            except BusError as error:
                log.error("%s misses %s and is cut off: %s", peer.name, tag, error)
                peer.close()

    def subscribe(self, service: str, message: type[E], handler: Callable[[E], None]) -> None:
        """Hear the events of a type from a service, from now on and after each of its restarts.

        Events between a restart and the renewed subscription are missed: ask for the state when
        `on_peer_lost` told of the loss.

        Raises:
            ValueError: this process has another handler for the type already.
        """
        self.handlers.add_function(message, handler)
        self.link(service).subscribe(tag_of(message))

    def attach(self, end: socket.socket, name: str) -> Peer:
        """Make a link of a connected socket."""
        peer = Peer(end, name, self)
        self._peers.add(peer)
        peer.on_lost.append(self._lost)
        return peer

    @handles(LinkOffer)
    def on_link_offer(self, event: LinkOffer) -> None:
        """Another process has asked the root for a link to us."""
        if current_call().peer != ROOT:
            log.error("%s would link %s to us; only the root may", current_call().peer, event.peer)
            event.descriptor.close()
            return
        self.attach(socket.socket(fileno=event.descriptor.take()), event.peer)

    def close(self) -> None:
        """Close every link."""
        for link in self._links.values():
            link.close()
        for peer in list(self._peers):
            peer.close()
        self.control.close()

    def _lost(self, peer: Peer) -> None:
        self._peers.discard(peer)
        if not peer.closed_here:
            for callback in list(self.on_peer_lost):
                callback(peer.name)
