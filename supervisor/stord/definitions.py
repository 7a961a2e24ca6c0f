"""Definitions of pools.

Owns: what makes them pools' (`supervisor.objects.definitions` has the rest).
May touch: the registry. May not touch: active pools.
"""

from __future__ import annotations

from uuid import UUID

from conf.storage import Pool, format_pool
from rpc.enums import StoragePoolEventLifecycleType as Lifecycle
from supervisor.dispatch.events import Publisher
from supervisor.objects import definitions
from supervisor.stord.definition_files import PoolFiles
from supervisor.stord.pool import PoolObject
from supervisor.stord.registry import POOLS, PoolRegistry
from supervisor.stord.source_conflicts import refuse_conflict


class Definitions(definitions.Definitions[PoolObject, Pool]):
    """The definitions of one daemon."""

    def __init__(self, registry: PoolRegistry, store: PoolFiles, publisher: Publisher) -> None:
        """Change these."""
        super().__init__(registry, store)
        self._publisher = publisher

    def object_for(self, document: Pool) -> PoolObject:
        """The pool that a document is of; its storage is no other pool's."""
        refuse_conflict(document, [entry.current for entry in self._registry])
        uuid = UUID(str(document.uuid)).bytes
        return self._registry.match_or_conflict(document.name, uuid) or PoolObject(
            POOLS, name=document.name, uuid=uuid
        )

    def text(self, document: Pool) -> str:
        """The document of a pool."""
        return format_pool(document)

    def set_definition(self, entry: PoolObject, document: Pool | None) -> None:
        """Have it in memory."""
        entry.definition = document

    def invalidate(self) -> None:
        """Have rpcd ask again."""
        self._publisher.invalidate()

    def publish_defined(self, entry: PoolObject, *, redefined: bool) -> None:
        """Send the lifecycle event."""
        self._publisher.lifecycle(entry, Lifecycle.DEFINED)

    def publish_undefined(self, entry: PoolObject) -> None:
        """Send the lifecycle event."""
        self._publisher.lifecycle(entry, Lifecycle.UNDEFINED)
