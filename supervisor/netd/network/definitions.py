"""Definitions of networks.

Owns: what makes them networks' (`supervisor.objects.definitions` has the rest).
May touch: the registry. May not touch: running networks.
"""

from __future__ import annotations

from uuid import UUID

from conf.network import Network, format_network
from rpc.enums import NetworkEventLifecycleType as Lifecycle
from supervisor.netd.events import Publisher
from supervisor.netd.network.files import Store
from supervisor.netd.network.network import Entry
from supervisor.netd.network.registry import Registry
from supervisor.objects import definitions


class Definitions(definitions.Definitions[Entry, Network]):
    """The definitions of one daemon."""

    def __init__(self, registry: Registry, store: Store, publisher: Publisher) -> None:
        """Change these."""
        super().__init__(registry, store)
        self._publisher = publisher

    def claimed(self, document: Network) -> Entry:
        """The network that a document is of."""
        uuid = UUID(str(document.uuid)).bytes
        return self._registry.claim(document.name, uuid) or Entry(name=document.name, uuid=uuid)

    def text(self, document: Network) -> str:
        """The document of a network that does not run."""
        return format_network(document, inactive=True)

    def put(self, entry: Entry, document: Network | None) -> None:
        """Have it in memory."""
        entry.definition = document

    def stale(self) -> None:
        """Have rpcd ask again."""
        self._publisher.stale()

    def told_defined(self, entry: Entry, *, anew: bool) -> None:
        """Send the lifecycle event."""
        self._publisher.lifecycle(entry, Lifecycle.DEFINED)

    def told_undefined(self, entry: Entry) -> None:
        """Send the lifecycle event."""
        self._publisher.lifecycle(entry, Lifecycle.UNDEFINED)
