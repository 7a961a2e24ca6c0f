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
from supervisor.domd.definition_files import Store
from supervisor.domd.domain import Definition, Entry
from supervisor.domd.events import Publisher
from supervisor.domd.registry import Registry
from supervisor.domd.service_errors import invalid
from supervisor.objects import definitions
from supervisor.runtime.shield import finish


class Definitions(definitions.Definitions[Entry, Definition]):
    """The definitions of one daemon."""

    _registry: Registry
    _store: Store

    def __init__(self, registry: Registry, store: Store, publisher: Publisher) -> None:
        """Change these."""
        super().__init__(registry, store)
        self._publisher = publisher

    def claimed(self, document: Definition) -> Entry:
        """The domain that a definition is of."""
        domain = document.domain
        uuid = UUID(str(domain.uuid)).bytes
        return self._registry.claim(domain.name, uuid) or Entry(name=domain.name, uuid=uuid)

    def text(self, document: Definition) -> str:
        """The document, passwords included."""
        return document.xml

    def put(self, entry: Entry, document: Definition | None) -> None:
        """Have it in memory."""
        entry.definition = document

    def stale(self) -> None:
        """Have rpcd ask again."""
        self._publisher.stale()

    def told_defined(self, entry: Entry, *, anew: bool) -> None:
        """Send the lifecycle event."""
        details = DomainEventDefinedDetailType
        detail = details.UPDATED if anew else details.ADDED
        self._publisher.lifecycle(entry, DomainEventType.DEFINED, detail)

    def told_undefined(self, entry: Entry) -> None:
        """Send the lifecycle event."""
        detail = DomainEventUndefinedDetailType.REMOVED
        self._publisher.lifecycle(entry, DomainEventType.UNDEFINED, detail)

    async def rename(self, entry: Entry, definition: Definition) -> None:
        """Give a domain that is off another name, its new definition's; the job is the caller's.

        Raises:
            VirError: OPERATION_INVALID when the name is taken; SYSTEM_ERROR.
        """
        await finish(self._rename(entry, definition))

    async def _rename(self, entry: Entry, definition: Definition) -> None:
        old, new = entry.name, definition.domain.name
        async with self._turn.hold("rename"):
            if self._registry.by_name(new) is not None:
                raise invalid(f"domain with name '{new}' already exists")
            text = definition.xml
            await self._disk("rename", entry, lambda: self._store.rename(old, new, text))
            former = Entry(name=old, uuid=entry.uuid)
            self._publisher.stale()
            entry.definition = definition
            self._registry.rename(entry, new)
            undefined = DomainEventUndefinedDetailType.RENAMED
            self._publisher.lifecycle(former, DomainEventType.UNDEFINED, undefined)
            defined = DomainEventDefinedDetailType.RENAMED
            self._publisher.lifecycle(entry, DomainEventType.DEFINED, defined)
