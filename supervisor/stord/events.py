"""Events of pools for the clients that registered.

Owns: encoding them. May touch: the bus, to publish; the root, to be kept up. May not touch: pools.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ipc import Node
from rpc.enums import StoragePoolEventID, StoragePoolEventLifecycleType
from supervisor.dispatch.dispatcher import encode_event
from supervisor.messages.calls import ClientEvent, InvalidateCache
from supervisor.messages.root import KeepRunning
from supervisor.stord.pool import PoolObject


class Publisher:
    """Publishes to rpcd, which knows who wants what."""

    def __init__(self, node: Node) -> None:
        """Publish on this bus."""
        self._node = node
        self._under_way = 0

    def lifecycle(self, entry: PoolObject, event: StoragePoolEventLifecycleType) -> None:
        """A pool was defined, undefined, started, stopped, built or deleted."""
        payload = encode_event("storage_pool_event_lifecycle", entry.identity, event, 0)
        self._publish(entry, StoragePoolEventID.LIFECYCLE, payload)

    def refreshed(self, entry: PoolObject) -> None:
        """A pool's volumes were looked at anew."""
        payload = encode_event("storage_pool_event_refresh", entry.identity)
        self._publish(entry, StoragePoolEventID.REFRESH, payload)

    def stale(self) -> None:
        """What was answered before may be wrong now; said before a change is acknowledged."""
        self._node.publish(InvalidateCache())

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep the daemon up while a volume is being written."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        before, self._under_way = self._under_way, self._under_way + change
        if bool(before) != bool(self._under_way):
            busy = bool(self._under_way)
            why = "volumes are being written" if busy else "no volume is being written"
            self._node.control.send(KeepRunning(busy=busy, why=why))

    def _publish(self, entry: PoolObject, event_id: StoragePoolEventID, payload: bytes) -> None:
        self.stale()
        self._node.publish(
            ClientEvent(
                family="storage_pool",
                event_id=event_id,
                driver="qemu",
                uuid=entry.uuid,
                payload=payload,
            )
        )
