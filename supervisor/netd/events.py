"""Events of networks for the clients that registered.

Owns: encoding them. May touch: the bus, to publish; the root, to be kept up. May not touch: links.
"""

from __future__ import annotations

from ipc import Node
from rpc.enums import NetworkEventID, NetworkEventLifecycleType
from supervisor.dispatch.dispatcher import encode_event
from supervisor.messages.calls import ClientEvent, InvalidateCache
from supervisor.messages.root import KeepRunning
from supervisor.netd.network.network import NetworkObject


class Publisher:
    """Publishes to rpcd, which knows who wants what."""

    def __init__(self, node: Node) -> None:
        """Publish on this bus."""
        self._node = node
        self._busy = False

    def lifecycle(self, entry: NetworkObject, event: NetworkEventLifecycleType) -> None:
        """A network was defined, undefined, started or stopped."""
        self.stale()
        self._node.publish(
            ClientEvent(
                family="network",
                event_id=NetworkEventID.LIFECYCLE,
                driver="qemu",
                uuid=entry.uuid,
                payload=encode_event("network_event_lifecycle", entry.identity, event, 0),
            )
        )

    def stale(self) -> None:
        """What was answered before may be wrong now; said before a change is acknowledged."""
        self._node.publish(InvalidateCache())

    def activity(self, *, busy: bool) -> None:
        """Tell the root whether networks keep the daemon up."""
        if busy != self._busy:
            self._busy = busy
            why = "networks run" if busy else "no network runs"
            self._node.control.send(KeepRunning(busy=busy, why=why))
