"""Definitions of pools.

Owns: what makes them pools' (`supervisor.objects.definitions` has the rest).
May touch: the registry. May not touch: active pools.
"""

from __future__ import annotations

from uuid import UUID

from conf.storage import Pool, format_pool
from rpc.enums import StoragePoolEventLifecycleType as Lifecycle
from supervisor.objects import definitions
from supervisor.stord.definition_files import Store
from supervisor.stord.events import Publisher
from supervisor.stord.pool import Entry
from supervisor.stord.registry import Registry
from supervisor.stord.source_conflicts import refuse_conflict


class Definitions(definitions.Definitions[Entry, Pool]):
    """The definitions of one daemon."""

    def __init__(self, registry: Registry, store: Store, publisher: Publisher) -> None:
        """Change these."""
        super().__init__(registry, store)
        self._publisher = publisher

    def claimed(self, document: Pool) -> Entry:
        """The pool that a document is of; its storage is no other pool's."""
        refuse_conflict(document, [entry.current for entry in self._registry])
        uuid = UUID(str(document.uuid)).bytes
        return self._registry.claim(document.name, uuid) or Entry(name=document.name, uuid=uuid)

    def text(self, document: Pool) -> str:
        """The document of a pool."""
        return format_pool(document)

    def put(self, entry: Entry, document: Pool | None) -> None:
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
