"""domd's calls about what only the document says: title, description, foreign metadata.

Owns: one method per procedure, named as in the table.
May touch: definitions; a running guest's document, through its worker.
"""

from __future__ import annotations

from typing import Final

from conf.domain import Domain, format_domain
from rpc.enums import DomainMetadataType
from rpc.enums import DomainModificationImpact as Impact
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.calls.query import definition_for, not_persistent
from supervisor.domd.definitions import Definitions
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.events import Publisher
from supervisor.domd.metadata_xml import change_metadata, read_metadata
from supervisor.domd.registry import Registry, not_running
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.service_errors import refuse_both_impacts, refuse_flags

IMPACT: Final = Impact.LIVE | Impact.CONFIG


class MetadataCalls:
    """What clients may note on domains."""

    def __init__(
        self,
        registry: Registry,
        definitions: Definitions,
        domains: RunningDomains,
        publisher: Publisher,
    ) -> None:
        """Note on these."""
        self._registry = registry
        self._definitions = definitions
        self._domains = domains
        self._publisher = publisher

    def domain_get_metadata(
        self, call: ClientCall, dom: DomainId, type: int, uri: str | None, flags: int
    ) -> str:
        """A domain's title, description, or element of metadata.

        Raises:
            VirError: NO_DOMAIN_METADATA when there is none.
        """
        call.cacheable = True
        refuse_flags("qemuDomainGetMetadata", flags, IMPACT)
        refuse_both_impacts(flags)
        entry = self._registry.find(dom)
        return read_metadata(definition_for(entry, flags).domain, type, uri)

    async def domain_set_metadata(
        self,
        call: ClientCall,
        dom: DomainId,
        type: int,
        metadata: str | None,
        key: str | None,
        uri: str | None,
        flags: int,
    ) -> None:
        """Change a domain's title, description, or an element of metadata; None removes it.

        Raises:
            VirError: INVALID_ARG for what cannot be, OPERATION_INVALID for the live document of a
                domain that is off or the definition of a transient one.
        """
        refuse_flags("qemuDomainSetMetadata", flags, IMPACT)
        entry = self._registry.find(dom)
        async with entry.job.hold("metadata"):
            live, config = targets(entry, flags)

            def changed(domain: Domain) -> Domain:
                return change_metadata(domain, type, metadata, key, uri)

            # Both are computed before one is changed: what is refused changes nothing.
            planned_live = changed(live.domain) if live is not None else None
            planned = changed(config.domain) if config is not None else None
            if planned_live is not None:
                await self._domains.set_metadata(entry, planned_live)
            if planned is not None:
                definition = Definition(format_domain(planned, secure=True), planned)
                await self._definitions.replace(entry, definition)
        element = type == DomainMetadataType.ELEMENT
        self._publisher.metadata_change(entry, type, uri if element else None)


def targets(entry: DomainObject, flags: int) -> tuple[Definition | None, Definition | None]:
    """The live document and the definition, where they are to be changed.

    Raises:
        VirError: OPERATION_INVALID: there is no such one.
    """
    if not flags & IMPACT:
        flags = Impact.LIVE if entry.is_active else Impact.CONFIG
    if flags & Impact.LIVE and entry.running is None:
        raise not_running(entry)
    if flags & Impact.CONFIG and entry.definition is None:
        raise not_persistent(entry)
    live = entry.running.live if flags & Impact.LIVE and entry.running is not None else None
    return live, entry.definition if flags & Impact.CONFIG else None
