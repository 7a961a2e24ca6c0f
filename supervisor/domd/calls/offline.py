"""Calls with `owner=worker` that a domain without a guest answers, too.

Owns: one method per procedure, named as in the table.
May touch: disk images, to read their headers. May not touch: workers.
Source: libvirt 9.0, qemuDomainGetBlockInfo, qemuStorageLimitsRefresh.
"""

from __future__ import annotations

import asyncio
import os
import stat
from typing import Final

from rpc.enums import DomainMemoryFlags
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.calls.query import is_disk
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.images import HEADER_BYTES, read_image_as

ADDRESS_FLAGS: Final = "flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL"
X86: Final = ("i686", "x86_64")
SECTOR: Final = 512  # bytes, the unit of st_blocks


class OfflineCalls:
    """The calls, for domains that are off."""

    def __init__(self, registry: DomainRegistry) -> None:
        self._registry = registry
        self._errors = registry.errors

    async def domain_get_block_info(
        self, call: ClientCall, dom: DomainId, path: str, flags: int
    ) -> tuple[int, int, int]:
        """Return allocation, capacity and physical size of a disk's image, in bytes.

        Raises:
            VirError: INVALID_ARG: no such disk, or it has no source; OPERATION_UNSUPPORTED: the
                image is not on this host; SYSTEM_ERROR: it cannot be read.
        """
        disks = self._registry.find(dom).current.domain.devices.disks
        disk = next((disk for disk in disks if is_disk(disk, path)), None)
        if disk is None:
            raise self._errors.invalid_arg(f"invalid path {path} not assigned to domain")
        chain = disk.chain()
        if not chain:
            detail = f"disk '{path}' does not currently have a source assigned"
            raise self._errors.invalid_arg(detail)
        source, image_format, _ = chain[0]
        image = source.file or source.dev
        if not image:
            raise self._errors.operation_unsupported(
                f"the size of disk '{path}' is not known while its domain is off: its image is "
                "not a file or device of this host"
            )
        return await asyncio.to_thread(read_sizes, image, image_format, self._errors)

    async def domain_memory_peek(
        self, call: ClientCall, dom: DomainId, offset: int, size: int, flags: int
    ) -> bytes:
        """Refuse to read the memory of a guest that does not run.

        Raises:
            VirError: INVALID_ARG: of no kind of address, which libvirt looks at first;
                OPERATION_INVALID.
        """
        if flags not in (DomainMemoryFlags.VIRTUAL, DomainMemoryFlags.PHYSICAL):
            raise self._errors.invalid_arg(ADDRESS_FLAGS)
        raise not_running(self._registry.find(dom))

    async def domain_set_time(
        self, call: ClientCall, dom: DomainId, seconds: int, nseconds: int, flags: int
    ) -> None:
        """Refuse to set the clock of a guest that does not run.

        Raises:
            VirError: OPERATION_UNSUPPORTED: an x86 guest's clock is set with a command of its
                QEMU, and libvirt asks whether that has it first; OPERATION_INVALID: any other.
        """
        domain = self._registry.find(dom)
        if domain.current.domain.os.type.arch in X86:
            detail = "cannot set time: qemu doesn't support rtc-reset-reinjection command"
            raise self._errors.operation_unsupported(f"{detail} while '{domain.name}' is off")
        raise not_running(domain)


def read_sizes(path: str, image_format: str, errors: ServiceErrors) -> tuple[int, int, int]:
    """Read allocation, capacity and physical size of an image.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    try:
        # O_NONBLOCK: the open of a FIFO does not wait for its other end.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            is_file = stat.S_ISREG(status.st_mode)
            size = status.st_size if is_file else os.lseek(fd, 0, os.SEEK_END)
            head = os.pread(fd, HEADER_BYTES, 0)
        finally:
            os.close(fd)
    except OSError as error:
        raise errors.system_error(f"cannot read the size of '{path}'", error) from error
    capacity = read_image_as(image_format, head).size_for_guest(size)
    return (status.st_blocks * SECTOR if is_file else size), capacity, size
