"""Definitions of networks.

Owns: what makes them networks' (`supervisor.objects.definitions` has the rest).
May touch: the registry. May not touch: running networks.
"""

from __future__ import annotations

from uuid import UUID

from conf.network import Network, format_network
from rpc.enums import NetworkEventLifecycleType as Lifecycle
from supervisor.dispatch.events import Publisher
from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.network import NetworkObject
from supervisor.netd.network.registry import NETWORKS, NetworkRegistry
from supervisor.objects import definitions


class Definitions(definitions.Definitions[NetworkObject, Network]):
    """The definitions of one daemon."""

    def __init__(
        self, registry: NetworkRegistry, store: NetworkFiles, publisher: Publisher
    ) -> None:
        """Change these."""
        super().__init__(registry, store)
        self._publisher = publisher

    def object_for(self, document: Network) -> NetworkObject:
        """The network that a document is of."""
        uuid = UUID(str(document.uuid)).bytes
        return self._registry.match_or_conflict(document.name, uuid) or NetworkObject(
            NETWORKS, name=document.name, uuid=uuid
        )

    def text(self, document: Network) -> str:
        """The document of a network that does not run."""
        return format_network(document, inactive=True)

    def set_definition(self, entry: NetworkObject, document: Network | None) -> None:
        """Have it in memory."""
        entry.definition = document

    def invalidate(self) -> None:
        """Have rpcd ask again."""
        self._publisher.invalidate()

    def publish_defined(self, entry: NetworkObject, *, redefined: bool) -> None:
        """Send the lifecycle event."""
        self._publisher.lifecycle(entry, Lifecycle.DEFINED)

    def publish_undefined(self, entry: NetworkObject) -> None:
        """Send the lifecycle event."""
        self._publisher.lifecycle(entry, Lifecycle.UNDEFINED)
