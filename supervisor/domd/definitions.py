"""Definitions of domains.

Owns: what makes them domains' (`supervisor.objects.definitions` has the rest): their new names.
May touch: the store, in a thread; the registry. May not touch: guests.
"""

from __future__ import annotations

from uuid import UUID

from rpc.enums import (
    DomainEventDefinedDetailType,
    DomainEventType,
    DomainEventUndefinedDetailType,
)
from supervisor.dispatch.events import Publisher
from supervisor.domd.definition_files import DomainDefinitionFiles
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.objects import definitions
from supervisor.runtime.shield import run_to_completion


class DomainDefinitions(definitions.Definitions[DomainObject, Definition]):
    """The definitions of one daemon."""

    _registry: DomainRegistry
    _store: DomainDefinitionFiles

    def __init__(
        self, registry: DomainRegistry, store: DomainDefinitionFiles, publisher: Publisher
    ) -> None:
        """Change these."""
        super().__init__(registry, store)
        self._publisher = publisher

    def object_for(self, document: Definition) -> DomainObject:
        """The domain that a definition is of."""
        domain = document.domain
        uuid = UUID(str(domain.uuid)).bytes
        return self._registry.match_or_conflict(domain.name, uuid) or DomainObject(
            object_type=self._registry.object_type, name=domain.name, uuid=uuid
        )

    def text(self, document: Definition) -> str:
        """The document, passwords included."""
        return document.xml

    def set_definition(self, entry: DomainObject, document: Definition | None) -> None:
        """Have it in memory."""
        entry.definition = document

    def invalidate(self) -> None:
        """Have rpcd ask again."""
        self._publisher.invalidate()

    def publish_defined(self, entry: DomainObject, *, redefined: bool) -> None:
        """Send the lifecycle event."""
        details = DomainEventDefinedDetailType
        detail = details.UPDATED if redefined else details.ADDED
        self._publisher.lifecycle(entry, DomainEventType.DEFINED, detail)

    def publish_undefined(self, entry: DomainObject) -> None:
        """Send the lifecycle event."""
        detail = DomainEventUndefinedDetailType.REMOVED
        self._publisher.lifecycle(entry, DomainEventType.UNDEFINED, detail)

    async def rename(self, entry: DomainObject, definition: Definition) -> None:
        """Give a domain that is off another name, its new definition's; the job is the caller's.

        Raises:
            VirError: OPERATION_INVALID when the name is taken; SYSTEM_ERROR.
        """
        await run_to_completion(self._rename(entry, definition))

    async def _rename(self, entry: DomainObject, definition: Definition) -> None:
        old, new = entry.name, definition.domain.name
        async with self._turn.hold("rename"):
            if self._registry.by_name(new) is not None:
                raise self._registry.errors.operation_invalid(
                    f"domain with name '{new}' already exists"
                )
            text = definition.xml
            await self._disk("rename", entry, lambda: self._store.rename(old, new, text))
            former = DomainObject(object_type=self._registry.object_type, name=old, uuid=entry.uuid)
            self._publisher.invalidate()
            entry.definition = definition
            self._registry.rename(entry, new)
            undefined = DomainEventUndefinedDetailType.RENAMED
            self._publisher.lifecycle(former, DomainEventType.UNDEFINED, undefined)
            defined = DomainEventDefinedDetailType.RENAMED
            self._publisher.lifecycle(entry, DomainEventType.DEFINED, defined)
