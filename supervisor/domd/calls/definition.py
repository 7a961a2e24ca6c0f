"""virDomain calls that change definitions: define, undefine, rename, autostart, managed save.

Owns: one method per procedure, named as in the table.
May touch: definitions, and what domains have on disk, each through its own module.
May not touch: guests.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from conf.domain import Domain, format_domain
from rpc.enums import DomainDefineFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.schema import require_valid
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.definitions import DomainDefinitions
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.domain_files import DomainFiles, check_keep_flags
from supervisor.domd.registry import DomainRegistry
from supervisor.drivers.driver import Driver

log = logging.getLogger(__name__)


class DefinitionCalls:
    """The definition calls of one driver."""

    def __init__(
        self,
        registry: DomainRegistry,
        definitions: DomainDefinitions,
        builder: DefinitionBuilder,
        files: DomainFiles,
        publisher: Publisher,
        driver: Driver,
    ) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._definitions = definitions
        self._builder = builder
        self._files = files
        self._publisher = publisher
        self._driver = driver

    async def domain_define_xml(self, call: ClientCall, xml: str) -> DomainId:
        """Define or redefine a domain."""
        return await self.domain_define_xml_flags(call, xml, 0)

    async def domain_define_xml_flags(self, call: ClientCall, xml: str, flags: int) -> DomainId:
        """Define or redefine a domain; a running guest is not changed.

        Raises:
            VirError: OPERATION_FAILED when the name or the UUID belongs to another domain;
                XML_INVALID_SCHEMA.
            ConfError: the XML is invalid.
        """
        self._errors.check_flags("DomainDefineXMLFlags", flags, DomainDefineFlags.VALIDATE)
        await require_valid(xml, "domain.rng", Domain, flags & DomainDefineFlags.VALIDATE)
        domain = await self._definitions.define(await self._builder.build(xml))
        return domain.identity

    async def domain_undefine(self, call: ClientCall, dom: DomainId) -> None:
        """Undefine a domain."""
        await self.domain_undefine_flags(call, dom, 0)

    async def domain_undefine_flags(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Undefine a domain; an active one becomes transient.

        Raises:
            VirError: OPERATION_INVALID for a transient domain, or one that has a saved state,
                snapshots or firmware variables and no flag about them.
        """
        self._driver.check_flags("DomainUndefineFlags", flags)
        check_keep_flags(flags, self._errors)
        domain = self._registry.find(dom)
        async with domain.jobs.hold("undefine"):
            if domain.definition is None:
                raise domain.errors.operation_invalid(
                    f"cannot undefine transient domain '{domain.name}'"
                )
            last = domain.definition
            await self._definitions.undefine(
                domain, lambda: self._files.remove_on_undefine(domain, flags)
            )
            domain.undefined = last

    async def domain_rename(
        self, call: ClientCall, dom: DomainId, new_name: str | None, flags: int
    ) -> int:
        """Rename an inactive domain.

        Raises:
            VirError: OPERATION_INVALID when it runs, is transient or has a saved state, and when
                the name is taken; XML_ERROR when it is none.
        """
        self._errors.check_flags("DomainRename", flags)
        name = new_name or ""
        domain = self._registry.find(dom)
        async with domain.jobs.hold("rename"):
            self._refuse_rename(domain, name)
            assert domain.definition is not None, "a transient domain was refused"
            renamed = replace(domain.definition.domain, name=name)
            definition = Definition(format_domain(renamed, secure=True), renamed)
            await self._definitions.rename(domain, definition)
        return 0

    def _refuse_rename(self, domain: DomainObject, name: str) -> None:
        if domain.is_active:
            raise domain.errors.operation_invalid(
                f"cannot rename active domain '{domain.name}'; shut it down first"
            )
        refuse_name(name)
        if domain.definition is None:
            raise domain.errors.operation_invalid(
                f"cannot rename a transient domain '{domain.name}'"
            )
        if name == domain.name:
            raise domain.object_type.conf_errors.operation_invalid("Can't rename domain to itself")
        if self._files.has_managed_save(domain):
            raise domain.errors.operation_invalid(
                f"domain '{domain.name}' with a managed saved state can't be renamed"
            )

    async def domain_set_autostart(self, call: ClientCall, dom: DomainId, autostart: int) -> None:
        """Set whether the domain is started with the host.

        Raises:
            VirError: OPERATION_INVALID for a transient domain.
        """
        domain = self._registry.find(dom)
        async with domain.jobs.hold("autostart"):
            if domain.definition is None:
                raise domain.errors.operation_invalid(
                    f"cannot set autostart for transient domain '{domain.name}'"
                )
            await self._definitions.set_autostart(domain, on=bool(autostart))

    def domain_get_autostart(self, call: ClientCall, dom: DomainId) -> int:
        """Return whether the domain is started with the host."""
        call.cacheable = True
        return int(self._registry.find(dom).autostart)

    def domain_has_managed_save_image(self, call: ClientCall, dom: DomainId, flags: int) -> int:
        """Return whether the domain has a managed save image."""
        self._errors.check_flags("DomainHasManagedSaveImage", flags)
        return int(self._files.has_managed_save(self._registry.find(dom)))

    async def domain_managed_save_remove(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Remove the managed save image.

        Raises:
            VirError: SYSTEM_ERROR when there is none.
        """
        self._errors.check_flags("DomainManagedSaveRemove", flags)
        domain = self._registry.find(dom)
        async with domain.jobs.hold("managed save remove"):
            await asyncio.to_thread(self._files.remove_managed_save, domain)
            self._publisher.invalidate()


def refuse_name(name: str) -> None:
    """Refuse a domain name that cannot be a file name.

    Raises:
        VirError: INVALID_ARG, XML_ERROR.
    """
    if not name:
        detail = "string new_name in virDomainRename must not be empty"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN)
    bad = next((letter for letter in "/\n\0" if letter in name), "")
    if bad or name in (".", ".."):
        detail = f"name {name} cannot contain {bad!r}" if bad else f"name {name} is a folder's"
        raise VirError(ErrorCode.XML_ERROR, detail, ErrorDomain.DOMAIN)
    if len(name.encode()) > MAX_NAME:
        detail = f"name {name[:40]}… is longer than {MAX_NAME} bytes, which a file's may be"
        raise VirError(ErrorCode.XML_ERROR, detail, ErrorDomain.DOMAIN)


MAX_NAME = 255 - len("..xml.new")
