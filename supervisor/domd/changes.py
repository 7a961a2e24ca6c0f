"""domd's calls that change definitions: define, undefine, rename, autostart, metadata.

Owns: one method per procedure, named as in the table; files are written before anything is told.
May touch: the registry, the store. May not touch: guests; what a running one needs is forwarded.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import Final
from uuid import UUID

from conf.domain import format_domain
from rpc.enums import (
    DomainDefineFlags,
    DomainEventDefinedDetailType,
    DomainEventType,
    DomainEventUndefinedDetailType,
    DomainMetadataType,
    DomainModificationImpact,
    DomainUndefineFlagsValues,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.calls import ClientCall
from supervisor.domd.documents import Documents
from supervisor.domd.entry import Definition, Entry
from supervisor.domd.events import Publisher
from supervisor.domd.metadata import change_metadata, read_metadata
from supervisor.domd.queries import definition_for
from supervisor.domd.registry import Registry
from supervisor.domd.store import Store
from supervisor.domd.words import refuse_flags

NVRAM_FLAGS: Final = DomainUndefineFlagsValues.NVRAM | DomainUndefineFlagsValues.KEEP_NVRAM
UNDEFINE_FLAGS: Final = 0x7F
IMPACT: Final = DomainModificationImpact.LIVE | DomainModificationImpact.CONFIG

log = logging.getLogger(__name__)


class Changes:
    """What clients may change of definitions."""

    def __init__(
        self, registry: Registry, store: Store, documents: Documents, publisher: Publisher
    ) -> None:
        """Change these."""
        self._registry = registry
        self._store = store
        self._documents = documents
        self._publisher = publisher

    async def domain_define_xml(self, call: ClientCall, xml: str) -> DomainId:
        """Define a domain, or define it anew."""
        return await self.domain_define_xml_flags(call, xml, 0)

    async def domain_define_xml_flags(self, call: ClientCall, xml: str, flags: int) -> DomainId:
        """Define a domain, or define it anew.

        Raises:
            VirError: OPERATION_FAILED when the name or the UUID belongs to another domain.
            ConfError: the document cannot be.
        """
        refuse_flags("domainDefineXMLFlags", flags, DomainDefineFlags.VALIDATE)
        definition = await self._documents.define(xml)
        entry = self.claim(definition)
        async with entry.job.hold("define"):
            # Nobody may have taken the name while we waited.
            entry = self.claim(definition)
            added = entry.definition is None
            self._store.save(entry.name, definition.xml)
            entry.definition = definition
            entry.updated = entry.is_active
            self._registry.add(entry)
        details = DomainEventDefinedDetailType
        detail = details.ADDED if added else details.UPDATED
        self._publisher.lifecycle(entry, DomainEventType.DEFINED, detail)
        return entry.identity

    def claim(self, definition: Definition) -> Entry:
        """The domain that a definition is of: the known one, or one yet to be added.

        Raises:
            VirError: OPERATION_FAILED when the name or the UUID belongs to another domain.
        """
        fresh = new_entry(definition)
        same_uuid = self._registry.by_uuid(fresh.uuid)
        same_name = self._registry.by_name(fresh.name)
        if same_name is not None and same_name.uuid != fresh.uuid:
            raise taken(fresh.name, same_name.uuid_text)
        if same_uuid is not None and same_uuid.name != fresh.name:
            raise taken(same_uuid.name, same_uuid.uuid_text)
        return same_uuid or fresh

    async def domain_undefine(self, call: ClientCall, dom: DomainId) -> None:
        """Forget a domain's definition."""
        await self.domain_undefine_flags(call, dom, 0)

    async def domain_undefine_flags(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Forget a domain's definition; a running guest goes on until it ends.

        Raises:
            VirError: OPERATION_INVALID for a transient domain, or one with firmware variables
                and no word about them.
        """
        refuse_flags("domainUndefineFlags", flags, UNDEFINE_FLAGS)
        entry = self._registry.find(dom)
        async with entry.job.hold("undefine"):
            if entry.definition is None:
                detail = f"cannot undefine transient domain '{entry.name}'"
                raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
            self._part_with_nvram(entry, flags)
            self._store.remove(entry.name)
            entry.definition, entry.autostart, entry.updated = None, False, False
            if not entry.is_active:
                self._registry.remove(entry)
        removed = DomainEventUndefinedDetailType.REMOVED
        self._publisher.lifecycle(entry, DomainEventType.UNDEFINED, removed)

    def _part_with_nvram(self, entry: Entry, flags: int) -> None:
        file = self._store.nvram(entry.name)
        if flags & NVRAM_FLAGS == NVRAM_FLAGS:
            detail = "firmware variables are either kept or removed"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
        if flags & DomainUndefineFlagsValues.NVRAM:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        elif not flags & DomainUndefineFlagsValues.KEEP_NVRAM and file.exists():
            detail = f"cannot undefine domain with nvram: say --nvram or --keep-nvram ({file})"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)

    async def domain_rename(
        self, call: ClientCall, dom: DomainId, new_name: str | None, flags: int
    ) -> int:
        """Give a domain that is off another name.

        Raises:
            VirError: OPERATION_INVALID when it runs or is transient; OPERATION_FAILED when the
                name is taken; XML_ERROR when it is none.
        """
        refuse_flags("domainRename", flags)
        name = new_name or ""
        if not name or "/" in name or "\n" in name or name in (".", ".."):
            detail = f"name '{name}' cannot be a domain's: it names a file"
            raise VirError(ErrorCode.XML_ERROR, detail, ErrorDomain.QEMU)
        entry = self._registry.find(dom)
        async with entry.job.hold("rename"):
            if entry.is_active or entry.definition is None:
                detail = f"cannot rename '{entry.name}': it is running or transient"
                raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
            other = self._registry.by_name(name)
            if other is not None:
                raise taken(name, other.uuid_text)
            old = replace_name(entry)
            renamed = replace(entry.definition.domain, name=name)
            definition = Definition(format_domain(renamed, secure=True), renamed)
            self._store.rename(entry.name, name, definition.xml)
            entry.definition = definition
            self._registry.rename(entry, name)
        undefined, defined = DomainEventType.UNDEFINED, DomainEventType.DEFINED
        self._publisher.lifecycle(old, undefined, DomainEventUndefinedDetailType.RENAMED)
        self._publisher.lifecycle(entry, defined, DomainEventDefinedDetailType.RENAMED)
        return 0

    async def domain_set_autostart(self, call: ClientCall, dom: DomainId, autostart: int) -> None:
        """Have the domain start with the host, or not.

        Raises:
            VirError: OPERATION_INVALID for a transient domain.
        """
        entry = self._registry.find(dom)
        async with entry.job.hold("autostart"):
            if entry.definition is None:
                detail = f"cannot set autostart for transient domain '{entry.name}'"
                raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
            self._store.set_autostart(entry.name, on=bool(autostart))
            entry.autostart = bool(autostart)
            self._publisher.stale()

    def domain_get_metadata(
        self, call: ClientCall, dom: DomainId, type: int, uri: str | None, flags: int
    ) -> str:
        """A domain's title, description, or element of metadata.

        Raises:
            VirError: NO_DOMAIN_METADATA when there is none.
        """
        refuse_flags("domainGetMetadata", flags, IMPACT)
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
            VirError: INVALID_ARG for what cannot be; OPERATION_UNSUPPORTED for a running guest's.
        """
        refuse_flags("domainSetMetadata", flags, IMPACT)
        entry = self._registry.find(dom)
        async with entry.job.hold("metadata"):
            target = definition_for(entry, flags)
            if flags & DomainModificationImpact.LIVE or target is not entry.definition:
                if entry.definition is None or flags & DomainModificationImpact.LIVE:
                    detail = "metadata of the running guest cannot be changed yet; use --config"
                    raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.QEMU)
                target = entry.definition
            changed = change_metadata(target.domain, type, metadata, key, uri)
            definition = Definition(format_domain(changed, secure=True), changed)
            self._store.save(entry.name, definition.xml)
            entry.definition = definition
        element = type == DomainMetadataType.ELEMENT
        self._publisher.metadata_change(entry, type, uri if element else None)


def new_entry(definition: Definition) -> Entry:
    """A domain for a definition; its completed document always has a name and a UUID."""
    domain = definition.domain
    return Entry(name=domain.name, uuid=UUID(str(domain.uuid)).bytes)


def replace_name(entry: Entry) -> Entry:
    """A domain as it is called now, for the event that tells of its old name."""
    return Entry(name=entry.name, uuid=entry.uuid)


def taken(name: str, uuid: str) -> VirError:
    """OPERATION_FAILED: another domain has that name or UUID."""
    detail = f"domain '{name}' already exists with uuid {uuid}"
    return VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
