"""virDomain calls of saved guests: save, restore, managed save, and the XML in their images.

Owns: one method per procedure, named as in the table.
May touch: guests through jobs and starts; images through `SavedImages`.
Source: libvirt 9.0: qemuDomainSaveFlags, qemuDomainRestoreInternal, qemuDomainManagedSave,
qemuDomainSaveImageDefineXML.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from conf.settings import QemuConfig
from rpc.enums import DomainJobOperation, DomainSaveImageXMLFlags
from rpc.enums import DomainSaveRestoreFlags as Flags
from rpc.params import declared, read_params
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.definitions import DomainDefinitions
from supervisor.domd.domain import DomainObject
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.guest_jobs import GuestJobs, JobRequest
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.saved_definitions import SavedDefinitions
from supervisor.domd.saved_images import SavedImages
from supervisor.domd.starting import restore_source
from supervisor.images.save_image import SaveData
from supervisor.messages.worker import Save
from supervisor.objects.job import AsyncJob
from supervisor.runtime.off_loop import off_loop

SAVE_FLAGS: Final = Flags.BYPASS_CACHE | Flags.RUNNING | Flags.PAUSED
RESTORE_FLAGS: Final = SAVE_FLAGS | Flags.RESET_NVRAM


class SaveCalls:
    """The calls, of the QEMU driver."""

    def __init__(
        self,
        registry: DomainRegistry,
        builder: DefinitionBuilder,
        definitions: DomainDefinitions,
        files: DomainFiles,
        images: SavedImages,
        saved: SavedDefinitions,
        domains: RunningDomains,
        jobs: GuestJobs,
        config: Callable[[], QemuConfig],
    ) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._builder = builder
        self._definitions = definitions
        self._files = files
        self._images = images
        self._saved = saved
        self._domains = domains
        self._jobs = jobs
        self._config = config  # called each time: qemu.conf can be reloaded

    # Save.

    async def domain_save(self, call: ClientCall, dom: DomainId, to: str) -> None:
        """Save a guest's memory to a file, and end it."""
        await self.domain_save_flags(call, dom, to, None, 0)

    async def domain_save_flags(
        self, call: ClientCall, dom: DomainId, to: str, dxml: str | None, flags: int
    ) -> None:
        """Save a guest's memory to a file, and end it.

        Raises:
            VirError: OPERATION_INVALID: it is off, or has a device that cannot be saved;
                CONFIG_UNSUPPORTED: the XML is another machine's; OPERATION_ABORTED;
                SYSTEM_ERROR, OPERATION_FAILED: it goes on, and an earlier file is as it was.
        """
        self._errors.check_flags("DomainSaveFlags", flags, SAVE_FLAGS)
        await self._save(self._registry.find(dom), to, dxml, flags, "remoteDispatchDomainSave")

    async def domain_save_params(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Save a guest to the parameter "file", or to its managed save image without one.

        Raises:
            VirError: as `domain_save_flags` and `domain_managed_save`; INVALID_ARG,
                ARGUMENT_UNSUPPORTED: of a parameter.
        """
        self._errors.check_flags("DomainSaveParams", flags, SAVE_FLAGS)
        to, dxml = _file_and_xml(params)
        domain = self._registry.find(dom)
        if to is None:
            await self._managed_save(domain, dxml, flags)
        else:
            await self._save(domain, to, dxml, flags, "remoteDispatchDomainSaveParams")

    async def domain_managed_save(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Save a guest to an image from which its next start goes on.

        Raises:
            VirError: as `domain_save_flags`; OPERATION_INVALID: the domain is transient.
        """
        self._errors.check_flags("DomainManagedSave", flags, SAVE_FLAGS)
        await self._managed_save(self._registry.find(dom), None, flags)

    async def _managed_save(self, domain: DomainObject, dxml: str | None, flags: int) -> None:
        if not domain.is_active:
            raise not_running(domain)
        if domain.definition is None:
            raise domain.errors.operation_invalid("cannot do managed save for transient domain")
        self._files.make_managed_save_folder(domain)
        path = str(self._files.managed_save(domain))
        await self._save(domain, path, dxml, flags, "remoteDispatchDomainManagedSave")

    async def _save(
        self, domain: DomainObject, path: str, dxml: str | None, flags: int, call: str
    ) -> None:
        compression = self._images.compression(self._config().save_image_format, "save")
        live = domain.live_definition
        if live is None:
            raise not_running(domain)
        xml = await off_loop(len(live.xml), lambda: live.migratable_xml)
        if dxml is not None:
            xml = await self._saved.other_xml(live, dxml)
        await self._jobs.run(
            domain,
            JobRequest(
                job=AsyncJob.SAVE,
                operation=DomainJobOperation.SAVE,
                call=call,
                make=lambda record: Save(
                    job=record,
                    path=path,
                    xml=xml,
                    cookie=live.cookie,
                    compression=compression,
                    bypass_cache=bool(flags & Flags.BYPASS_CACHE),
                    running=_wanted_state(flags),
                ),
            ),
        )

    # Restore.

    async def domain_restore(self, call: ClientCall, from_: str) -> None:
        """Restore a guest from a file."""
        await self._restore(call, from_, None, 0)

    async def domain_restore_flags(
        self, call: ClientCall, from_: str, dxml: str | None, flags: int
    ) -> None:
        """Restore a guest from a file; it is transient unless it is defined.

        Raises:
            VirError: SYSTEM_ERROR, OPERATION_FAILED: of the file; CONFIG_UNSUPPORTED: the XML is
                another machine's; OPERATION_INVALID: the domain is active; whatever keeps it from
                starting.
        """
        self._errors.check_flags("DomainRestoreInternal", flags, RESTORE_FLAGS)
        await self._restore(call, from_, dxml, flags)

    async def domain_restore_params(
        self, call: ClientCall, params: list[TypedParam], flags: int
    ) -> None:
        """Restore a guest from the parameter "file".

        Raises:
            VirError: as `domain_restore_flags`; INVALID_ARG: there is no such parameter.
        """
        path, dxml = _file_and_xml(params)
        if path is None:
            raise self._errors.invalid_arg("missing path to restore from")
        self._errors.check_flags("DomainRestoreInternal", flags, RESTORE_FLAGS)
        await self._restore(call, path, dxml, flags)

    async def _restore(self, call: ClientCall, path: str, dxml: str | None, flags: int) -> None:
        image = await self._images.open(path)
        try:
            await call.check_access(image.data.xml)  # before any hook script runs
            definition = await self._saved.restored(image.data, dxml)
            domain = await self._definitions.claim(definition)
            try:
                async with domain.jobs.hold("remoteDispatchDomainRestore"):
                    if domain.is_active:
                        detail = f"domain '{domain.name}' is already active"
                        raise domain.object_type.conf_errors.operation_invalid(detail)
                    wanted = _wanted_state(flags)
                    bypass = bool(flags & Flags.BYPASS_CACHE)
                    if flags & Flags.RESET_NVRAM:
                        await asyncio.to_thread(self._files.reset_nvram, domain, definition)
                    source = restore_source(image, bypass_cache=bypass, was_running=wanted)
                    await self._domains.start(domain, definition, source=source)
            finally:
                self._domains.drop_if_transient(domain)
        finally:
            image.descriptor.close()

    # Images.

    async def domain_save_image_get_xml_desc(self, call: ClientCall, file: str, flags: int) -> str:
        """Return the XML in an image.

        Raises:
            VirError: SYSTEM_ERROR, OPERATION_FAILED: of the file.
        """
        self._errors.check_flags("DomainSaveImageGetXMLDesc", flags, DomainSaveImageXMLFlags.SECURE)
        return await self._xml_of(call, file, flags)

    async def domain_save_image_define_xml(
        self, call: ClientCall, file: str, dxml: str, flags: int
    ) -> None:
        """Replace the XML in an image, or whether its guest is to run once it is restored.

        Raises:
            VirError: SYSTEM_ERROR, OPERATION_FAILED: of the file; CONFIG_UNSUPPORTED: the XML is
                another machine's.
        """
        await self._define_image(call, file, dxml, flags)

    async def domain_managed_save_get_xml_desc(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> str:
        """Return the XML in the managed save image.

        Raises:
            VirError: OPERATION_INVALID: there is none; as `domain_save_image_get_xml_desc`.
        """
        secure = DomainSaveImageXMLFlags.SECURE
        self._errors.check_flags("DomainManagedSaveGetXMLDesc", flags, secure)
        return await self._xml_of(call, self._managed_image(dom), flags)

    async def domain_managed_save_define_xml(
        self, call: ClientCall, dom: DomainId, dxml: str | None, flags: int
    ) -> None:
        """Replace the XML in the managed save image, or whether its guest is to run.

        Raises:
            VirError: OPERATION_INVALID: there is none; as `domain_save_image_define_xml`.
        """
        domain = self._registry.find(dom)
        async with domain.jobs.hold("remoteDispatchDomainManagedSaveDefineXML"):
            await self._define_image(call, self._managed_image(dom), dxml, flags)

    def _managed_image(self, dom: DomainId) -> str:
        domain = self._registry.find(dom)
        if not self._files.has_managed_save(domain):
            detail = "domain does not have managed save image"
            raise self._errors.operation_invalid(detail)
        return str(self._files.managed_save(domain))

    async def _xml_of(self, call: ClientCall, path: str, flags: int) -> str:
        data = await self._images.read(path)
        await call.check_access(data.xml)
        definition = await self._builder.build(data.xml)
        secure = flags & DomainSaveImageXMLFlags.SECURE
        return definition.secure_xml if secure else definition.public_xml

    async def _define_image(
        self, call: ClientCall, path: str, dxml: str | None, flags: int
    ) -> None:
        supported = Flags.RUNNING | Flags.PAUSED
        self._errors.check_flags("DomainSaveImageDefineXML", flags, supported)
        data: SaveData = await self._images.read(path)
        await call.check_access(data.xml)
        wanted = _wanted_state(flags)
        was_running = data.header.was_running if wanted is None else wanted
        xml = data.xml
        if dxml is not None and dxml != xml:
            xml = await self._saved.other_xml(await self._builder.build(xml), dxml)
        await self._images.edit(path, xml, was_running=was_running)


def _wanted_state(flags: int) -> bool | None:
    """Return whether the guest is to run once it is restored; None: as when it is saved."""
    if flags & Flags.RUNNING:
        return True
    return False if flags & Flags.PAUSED else None


def _file_and_xml(params: list[TypedParam]) -> tuple[str | None, str | None]:
    """Read the parameters of save and restore.

    Raises:
        VirError: ARGUMENT_UNSUPPORTED, INVALID_ARG.
    """
    values = read_params(params, declared("file", "dxml"))
    file, dxml = values.get("file"), values.get("dxml")
    return (str(file[0]) if file else None, str(dxml[0]) if dxml else None)
