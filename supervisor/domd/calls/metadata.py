"""virDomainGetMetadata and virDomainSetMetadata: title, description, applications' own elements.

Owns: one method per procedure, named as in the table.
May touch: definitions and running guests, through `change_domain`.
"""

from __future__ import annotations

from collections.abc import Callable

from conf.domain import Domain
from conf.domain.descriptions import DESCRIPTIONS
from rpc.enums import DomainEventID, DomainMetadataType
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.events import Publisher
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition
from supervisor.domd.metadata_xml import changed_field, check_kind, read_metadata
from supervisor.domd.registry import DomainRegistry
from supervisor.messages.worker import DescriptionField, SetMetadata
from supervisor.objects.impact import IMPACT_FLAGS, select_for_query


class MetadataCalls:
    """The two calls."""

    def __init__(
        self, registry: DomainRegistry, changer: DomainChanger, publisher: Publisher
    ) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._changer = changer
        self._publisher = publisher

    def domain_get_metadata(
        self, call: ClientCall, dom: DomainId, type: int, uri: str | None, flags: int
    ) -> str:
        """Return a domain's title, description, or the element of a namespace.

        Raises:
            VirError: NO_DOMAIN_METADATA when there is none.
        """
        call.cacheable = True
        self._errors.check_flags("DomainGetMetadata", flags, IMPACT_FLAGS)
        domain = self._registry.find(dom)
        check_kind(type)
        return read_metadata(select_for_query(domain, flags).descriptions, type, uri)

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
        """Set a domain's title, description, or the element of a namespace; None removes it.

        Raises:
            VirError: INVALID_ARG; XML_ERROR; OPERATION_INVALID: the domain is off, or transient.
        """
        self._errors.check_flags("DomainSetMetadata", flags, IMPACT_FLAGS)

        def changed(read: Callable[[], str | None]) -> tuple[DescriptionField, str | None]:
            check_kind(type)
            return changed_field(read, type, metadata, key, uri)

        def edit(domain: Domain) -> None:
            setattr(domain, *changed(lambda: domain.metadata))

        def live_request(live: Definition) -> SetMetadata:
            field, text = changed(lambda: live.descriptions.metadata)
            return SetMetadata(field=field, text=text)

        element = type == DomainMetadataType.ELEMENT
        # Metadata means nothing to the emulator: its capabilities need not be probed for it.
        change = DomainChange(
            name="metadata",
            edit=edit,
            live_request=live_request,
            revalidates=False,
            fields=DESCRIPTIONS,
            reads_live=element,
            size=len(metadata or ""),
        )
        domain = await self._changer.change_domain(dom, flags, change)
        self._publisher.publish(
            domain,
            DomainEventID.METADATA_CHANGE,
            "domain_event_callback_metadata_change",
            domain.identity,
            type,
            uri if element else None,
        )
