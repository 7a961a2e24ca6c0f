"""DomainStarter: starts a defined domain, from its managed save image where it has one.

Owns: that choice. May touch: managed save images; guests, through `RunningDomains`.
Source: libvirt 9.0, qemuDomainObjStart, qemuDomainObjRestore.
"""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

from conf.domain.cpu_document import format_cpu
from conf.domain.save_cookie import read_cookie_cpu
from ipc import Descriptor
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.saved_definitions import SavedDefinitions
from supervisor.domd.saved_images import OpenImage, SavedImages
from supervisor.images.save_image import Compression
from supervisor.messages.worker import RestoreImage

log = logging.getLogger(__name__)


class DomainStarter:
    """Starts the domains of one driver."""

    def __init__(
        self,
        definitions: SavedDefinitions,
        files: DomainFiles,
        images: SavedImages,
        domains: RunningDomains,
    ) -> None:
        self._definitions = definitions
        self._files = files
        self._images = images
        self._domains = domains

    async def start(
        self,
        domain: DomainObject,
        definition: Definition,
        *,
        paused: bool = False,
        autodestroy: str = "",
        force_boot: bool = False,
        bypass_cache: bool = False,
    ) -> None:
        """Start a domain; the caller holds its change lock.

        Args:
            domain: it is off.
            definition: the persistent one.
            paused: leave its vCPUs stopped.
            autodestroy: the client whose end is the guest's.
            force_boot: boot it, and drop what was saved.
            bypass_cache: read its image past the page cache.

        Raises:
            VirError: OPERATION_FAILED: the image is not this domain's, or no whole one; whatever
                keeps the domain from starting. The image is there still.
        """
        image = None
        if self._files.has_managed_save(domain):
            if force_boot:
                await asyncio.to_thread(self._files.remove_managed_save, domain)
            else:
                path = self._files.managed_save(domain)
                image = await self._images.open_unless_incomplete(path)
                if image is None:
                    log.warning("Ignoring incomplete managed state %s", path)
        if image is None:
            await self._domains.start(domain, definition, paused=paused, autodestroy=autodestroy)
            return
        try:
            saved = await self._definitions.restored(image.data)
            _check_owner(domain, saved)
            await self._domains.start(
                domain,
                saved,
                source=restore_source(image, bypass_cache=bypass_cache, remove=image.path),
                paused=paused,
                autodestroy=autodestroy,
            )
        finally:
            image.descriptor.close()


def _check_owner(domain: DomainObject, saved: Definition) -> None:
    """Refuse an image of another domain.

    Raises:
        VirError: OPERATION_FAILED.
    """
    name, uuid = saved.domain.name, saved.domain.uuid or ""
    if name != domain.name or UUID(uuid).bytes != domain.uuid:
        raise domain.errors.operation_failed(
            f"cannot restore domain '{domain.name}' uuid {domain.uuid_text} from a file which "
            f"belongs to domain '{name}' uuid {uuid}"
        )


def restore_source(
    image: OpenImage,
    *,
    bypass_cache: bool,
    remove: str = "",
    was_running: bool | None = None,
    reverts: bool = False,
) -> RestoreImage:
    """Make the source of a start from an open image; its descriptor is handed on.

    Args:
        image: the image.
        bypass_cache: read it past the page cache.
        remove: the file to remove once the guest runs.
        was_running: whether it is to run; None: as when it was saved.
        reverts: to a snapshot.

    Raises:
        VirError: OPERATION_FAILED: its compression is none that is known.
        ConfError: its cookie is none.
    """
    header = image.data.header
    if header.compression not in set(Compression):
        detail = f"Invalid compressed save format {header.compression}"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
    cpu = read_cookie_cpu(image.data.cookie)
    return RestoreImage(
        image=Descriptor(image.descriptor.take()),
        path=image.path,
        compression=header.compression,
        was_running=header.was_running if was_running is None else was_running,
        bypass_cache=bypass_cache,
        remove=remove,
        reverts=reverts,
        cpu=format_cpu(cpu) if cpu is not None else "",
    )
