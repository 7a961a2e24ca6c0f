"""Definitions of domains: their XML, and virDomainRename.

Owns: what domains have beside `supervisor.objects.definitions`.
May touch: definition files, in a thread; the registry; the bus, to publish.
May not touch: guests.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainEventDefinedDetailType, DomainEventUndefinedDetailType
from supervisor.dispatch.events import Publisher
from supervisor.domd.definition_files import DomainDefinitionFiles
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.objects.definition_xml import DefinitionXml, Identity
from supervisor.objects.definitions import DEFINED, UNDEFINED, Definitions
from supervisor.runtime.shield import run_to_completion

DOMAIN_XML: Final = DefinitionXml(
    parse=Definition,
    format=lambda definition: definition.xml,  # passwords included
    identity=lambda definition: Identity.of_texts(definition.domain.name, definition.domain.uuid),
)


class DomainDefinitions(Definitions[DomainObject, Definition]):
    """The definitions of one driver's domains."""

    def __init__(
        self, registry: DomainRegistry, files: DomainDefinitionFiles, publisher: Publisher
    ) -> None:
        updated = DomainEventDefinedDetailType.UPDATED
        super().__init__(registry, files, DOMAIN_XML, publisher, redefined_detail=updated)
        self._domain_files = files

    async def rename(self, domain: DomainObject, definition: Definition) -> None:
        """Give a shut off domain its new definition's name; the caller holds its change lock.

        Raises:
            VirError: OPERATION_INVALID: the name is taken; SYSTEM_ERROR.
        """
        await run_to_completion(self._rename(domain, definition))

    async def _rename(self, domain: DomainObject, definition: Definition) -> None:
        old, new = domain.name, definition.domain.name
        async with self._turn.hold("rename"):
            if self._registry.by_name(new) is not None:
                raise domain.errors.operation_invalid(f"domain with name '{new}' already exists")
            await self._change_disk(
                "rename", domain, lambda: self._domain_files.rename(old, new, definition.xml)
            )
            renamed_from = self._registry.make(old, domain.uuid)
            domain.definition = definition
            self._registry.rename(domain, new)
            self._publisher.lifecycle(
                renamed_from, UNDEFINED, DomainEventUndefinedDetailType.RENAMED
            )
            self._publisher.lifecycle(domain, DEFINED, DomainEventDefinedDetailType.RENAMED)
