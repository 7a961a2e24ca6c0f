"""Events of domains for the clients that registered.

Owns: encoding them. May touch: the bus, to publish; the root, to be kept up. May not touch: guests.
"""

from __future__ import annotations

from ipc import Node
from rpc.enums import DomainEventID
from supervisor.dispatch.dispatcher import encode_event
from supervisor.domd.domain import DomainObject
from supervisor.messages.calls import ClientEvent, InvalidateCache
from supervisor.messages.root import KeepRunning


class Publisher:
    """Publishes to rpcd, which knows who wants what."""

    def __init__(self, node: Node, driver: str) -> None:
        """Publish a driver's events on this bus."""
        self._node = node
        self._driver = driver
        self._busy = False

    def lifecycle(self, entry: DomainObject, event: int, detail: int) -> None:
        """A domain was defined, started, suspended, stopped or the like."""
        payload = encode_event("domain_event_callback_lifecycle", entry.identity, event, detail)
        self._publish(entry, DomainEventID.LIFECYCLE, payload)

    def metadata_change(self, entry: DomainObject, kind: int, uri: str | None) -> None:
        """A title, description or element of metadata was changed."""
        name = "domain_event_callback_metadata_change"
        payload = encode_event(name, entry.identity, kind, uri)
        self._publish(entry, DomainEventID.METADATA_CHANGE, payload)

    def relay(self, event: ClientEvent) -> None:
        """Pass on what a worker has made."""
        self._node.publish(event)

    def stale(self) -> None:
        """What was answered before may be wrong now; said before a change is acknowledged."""
        self._node.publish(InvalidateCache())

    def activity(self, *, busy: bool) -> None:
        """Tell the root whether guests keep the daemon up."""
        if busy != self._busy:
            self._busy = busy
            why = "guests run" if busy else "no guest runs"
            self._node.control.send(KeepRunning(busy=busy, why=why))

    def _publish(self, entry: DomainObject, event_id: int, payload: bytes) -> None:
        self.stale()
        self._node.publish(
            ClientEvent(
                family="domain",
                event_id=event_id,
                driver=self._driver,
                uuid=entry.uuid,
                name="",
                payload=payload,
            )
        )
