"""Node: this process on the bus, with its link to the root, its links to services, its handlers.

Owns: every link of the process. May not touch: what messages mean.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from ipc.context import current_call
from ipc.errors import BusError, ErrorCodec, NullErrorCodec
from ipc.handlers import Handlers
from ipc.held_events import HeldEvents
from ipc.link import Link
from ipc.messages import Event, LinkOffer, handles, tag_of
from ipc.peer import Peer

E = TypeVar("E", bound=Event)

ROOT: Final = "root"  # the control link's peer; no service has this name

log = logging.getLogger(__name__)


class Node:
    """One process on the bus."""

    def __init__(self, control: socket.socket, name: str, errors: ErrorCodec | None = None) -> None:
        """Take the control link over.

        Args:
            control: this process's end of the socket pair that the root made.
            name: of this process.
            errors: encodes and decodes the services' errors.
        """
        self.name = name
        self.handlers = Handlers()
        self.errors: ErrorCodec = errors or NullErrorCodec()
        self.held_events = HeldEvents()
        #: Called with the name of a process when it closes a link or ends.
        self.on_peer_lost: list[Callable[[str], None]] = []
        #: Called when a reply has nobody to go to: what the call has changed is to be told anew.
        self.on_reply_lost: list[Callable[[], None]] = []
        self._links: dict[str, Link] = {}
        self._peers: set[Peer] = set()
        self.serve(self)
        self.control = Peer(control, ROOT, self)

    def serve(self, target: object) -> None:
        """Register the handlers of an object.

        Raises:
            ValueError: a message has a handler already.
        """
        self.handlers.add(target)

    def link(self, service: str) -> Link:
        """Return the link to a service, which reconnects when the service restarts."""
        if service not in self._links:
            self._links[service] = Link(self, service)
        return self._links[service]

    def unlink(self, service: str) -> None:
        """Close the link to a service that will not restart, with its subscriptions."""
        link = self._links.pop(service, None)
        if link is not None:
            link.close()

    def publish(self, event: Event, processes: Collection[str] | None = None) -> None:
        """Send an event to subscribed peers; a link to one that does not read is closed.

        Args:
            event: what has happened.
            processes: names of those that it concerns; None: all.
        """
        tag = tag_of(type(event))
        for peer in list(self._peers):
            if tag not in peer.subscribed or (processes is not None and peer.name not in processes):
                continue
            try:
                peer.send(event)
            except BusError as error:
                log.error("the link to %s is closed, it cannot take %s: %s", peer.name, tag, error)
                peer.close()

    def subscribe(self, service: str, message: type[E], handler: Callable[[E], None]) -> None:
        """Subscribe to a service's events of a class, now and after each of its restarts.

        Events between a restart and the renewed subscription are lost: query the state in
        `on_peer_lost`.

        Raises:
            ValueError: this process has another handler for the class.
        """
        self.handlers.add_function(message, handler)
        self.link(service).subscribe(tag_of(message))

    def attach(self, end: socket.socket, name: str) -> Peer:
        """Make a peer of a connected socket."""
        peer = Peer(end, name, self)
        self._peers.add(peer)
        peer.on_lost.append(self._lost)
        return peer

    @property
    def is_busy(self) -> bool:
        """Whether a call of another process than the root is being handled."""
        return any(peer.is_busy for peer in self._peers)

    @property
    def last_call(self) -> float:
        """When the last such call came: the event loop's time; 0.0: there is no link."""
        return max((peer.last_call for peer in self._peers), default=0.0)

    @handles(LinkOffer)
    def on_link_offer(self, event: LinkOffer) -> None:
        """Take the end of a link that another process requested from the root."""
        if current_call().peer != ROOT:
            log.error("%s offers a link to %s; only the root may", current_call().peer, event.peer)
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
