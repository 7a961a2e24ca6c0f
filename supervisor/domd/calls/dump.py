"""virDomain calls that show a guest's memory and disks: core dump, memory peek, block peek.

Owns: one method per procedure, named as in the table (memory peek is the worker's).
May touch: guests, through jobs; disk images, to read.
Source: libvirt 9.0, qemuDomainCoreDumpWithFormat, qemuDomainBlockPeek.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from conf.settings import QemuConfig
from rpc.enums import DomainCoreDumpFlags as Flags
from rpc.enums import DomainCoreDumpFormat, DomainJobOperation
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.calls.query import is_disk
from supervisor.domd.guest_jobs import GuestJobs, JobRequest
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.saved_images import SavedImages
from supervisor.messages.worker import Dump
from supervisor.objects.job import AsyncJob

DUMP_FLAGS: Final = Flags.LIVE | Flags.CRASH | Flags.BYPASS_CACHE | Flags.RESET | Flags.MEMORY_ONLY
MAX_PEEK: Final = 4 << 20  # bytes: the protocol's limit


class DumpCalls:
    """The calls, of the QEMU driver."""

    def __init__(
        self,
        registry: DomainRegistry,
        images: SavedImages,
        jobs: GuestJobs,
        config: Callable[[], QemuConfig],
    ) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._images = images
        self._jobs = jobs
        self._config = config  # called each time: qemu.conf can be reloaded

    async def domain_core_dump(self, call: ClientCall, dom: DomainId, to: str, flags: int) -> None:
        """Dump a guest's memory to a file."""
        await self._dump(dom, to, DomainCoreDumpFormat.RAW, flags, "remoteDispatchDomainCoreDump")

    async def domain_core_dump_with_format(
        self, call: ClientCall, dom: DomainId, to: str, dumpformat: int, flags: int
    ) -> None:
        """Dump a guest's memory to a file, in one of virDomainCoreDumpFormat.

        Raises:
            VirError: OPERATION_INVALID: it is off, or has a device that cannot be migrated;
                INVALID_ARG, OPERATION_UNSUPPORTED: of the format; OPERATION_ABORTED;
                SYSTEM_ERROR, OPERATION_FAILED: it goes on, and an earlier file is as it was.
        """
        call_name = "remoteDispatchDomainCoreDumpWithFormat"
        await self._dump(dom, to, dumpformat, flags, call_name)

    async def _dump(
        self, dom: DomainId, path: str, dump_format: int, flags: int, call: str
    ) -> None:
        self._errors.check_flags("DomainCoreDumpWithFormat", flags, DUMP_FLAGS)
        compression = self._images.compression(self._config().dump_image_format, "dump")
        await self._jobs.run(
            self._registry.find(dom),
            JobRequest(
                job=AsyncJob.DUMP,
                operation=DomainJobOperation.DUMP,
                call=call,
                keeps_stats=not flags & Flags.MEMORY_ONLY,
                beside_block_jobs=bool(flags & Flags.MEMORY_ONLY),
                make=lambda record: Dump(
                    job=record,
                    path=path,
                    flags=flags,
                    format=dump_format,
                    compression=compression,
                ),
            ),
        )

    async def domain_block_peek(
        self, call: ClientCall, dom: DomainId, path: str, offset: int, size: int, flags: int
    ) -> bytes:
        """Read a part of a disk's image, of a guest that runs or not.

        Raises:
            VirError: INVALID_ARG: no such disk, or the image is shorter; OPERATION_UNSUPPORTED:
                its bytes are not the disk's; SYSTEM_ERROR: it cannot be read.
        """
        self._errors.check_flags("DomainBlockPeek", flags)
        domain = self._registry.find(dom)
        disks = domain.current.domain.devices.disks
        disk = next((disk for disk in disks if is_disk(disk, path)), None)
        if disk is None:
            raise self._errors.invalid_arg(f"disk '{path}' not found in domain")
        if size > MAX_PEEK:
            raise self._errors.invalid_arg(f"size {size} is larger than {MAX_PEEK} bytes")
        is_empty = disk.source is None and domain.is_active  # a running drive without a medium
        image_format = "none" if is_empty else (disk.driver and disk.driver.type) or "raw"
        if image_format != "raw":
            detail = f"peeking is only supported for disk with 'raw' format not '{image_format}'"
            raise self._errors.operation_unsupported(detail)
        source = disk.source
        image = (source.file or source.dev) if source is not None else None
        try:
            data = await asyncio.to_thread(_read, image or "", offset, size)
        except OSError as error:
            detail = f"Failed to open file '{image or '(null)'}': {error.strerror}"
            raise VirError(
                ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE, int1=error.errno or -1
            ) from error
        if len(data) < size:
            detail = f"'{path}' starting from {offset} has only {len(data)} bytes available"
            raise self._errors.invalid_arg(detail)
        return data


def _read(path: str, offset: int, size: int) -> bytes:
    # O_NONBLOCK: the open of a FIFO does not wait for its other end.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        parts = []
        while size > 0 and (part := os.pread(fd, size, offset)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)
    finally:
        os.close(fd)
