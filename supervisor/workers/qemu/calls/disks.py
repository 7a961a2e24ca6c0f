"""Changes of a running guest's disks that need no new definition: size, write threshold.

Owns: nothing. May touch: QEMU, by QMP.
Source: libvirt 9.0, qemuDomainBlockResize, qemuDomainSetBlockThreshold.
"""

from __future__ import annotations

import re
from typing import Final

from conf.domain.devices.disk import Disk
from rpc.enums import DomainBlockResizeFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.qemu import QEMU
from supervisor.objects.domain_status_xml import shown_backup
from supervisor.workers.qemu.block.backup_plan import find_store
from supervisor.workers.qemu.block.nodes import drive_qdev, find_indexed, number_disk
from supervisor.workers.qemu.guest import GuestProvider
from supervisor.workers.qemu.stats.sources import find_disk

RESIZE_S: Final = 50.0  # QEMU answers once the image has its new size
SECTOR: Final = 512  # bytes
SECTOR_FORMATS: Final = ("qcow2", "qed")
BLOCK_DEVICE: Final = re.compile(r"([^\[\]]+)(?:\[(\d{1,9})\])?")


class DiskCalls:
    """Calls on the guest's disks."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_block_resize(
        self, call: ClientCall, dom: DomainId, disk: str, size: int, flags: int
    ) -> None:
        """Set the size of a disk, in KiB or BYTES; the guest sees it at once.

        Raises:
            VirError: INVALID_ARG: no such disk; OPERATION_UNSUPPORTED: it is empty or read-only;
                INTERNAL_ERROR: QEMU cannot give it that size.
        """
        guest = self._worker.guest()
        found = find_disk(guest.domain, disk)
        if found is None:
            raise QEMU.errors.invalid_arg(f"disk '{disk}' was not found in the domain config")
        if not found.chain() or found.readonly:
            detail = f"can't resize empty or readonly disk '{found.target.dev}'"
            raise QEMU.errors.operation_unsupported(detail)
        if found.type == "vhostuser":
            detail = "block resize is not supported for vhostuser disk"
            raise QEMU.errors.operation_unsupported(detail)
        size_bytes = size if flags & DomainBlockResizeFlags.BYTES else size * 1024
        if _format(found) in SECTOR_FORMATS:
            size_bytes = -(-size_bytes // SECTOR) * SECTOR
        arguments: dict[str, object] = {**_top_node(found), "size": size_bytes}
        # A guest that hangs is known at once; one that answers may take long on a slow image.
        await guest.monitor.execute("query-status")
        await guest.monitor.execute("block_resize", arguments, timeout_s=RESIZE_S)

    async def domain_set_block_threshold(
        self, call: ClientCall, dom: DomainId, dev: str, threshold: int, flags: int
    ) -> None:
        """Have an event sent when the guest writes beyond an offset, in bytes; 0: no more.

        Args:
            call: the client's.
            dom: the domain.
            dev: a disk's target, or with an index an image of its chain: "vda[3]", or the target or
                scratch image of its backup.
            threshold: the offset in the image.
            flags: none.

        Raises:
            VirError: INVALID_ARG: no such disk or image; INTERNAL_ERROR: the drive is empty.
        """
        guest = self._worker.guest()
        index = backup_index(shown_backup(guest.status), dev)
        if index is None:
            index = image_index(guest.domain.devices.disks, dev)
        arguments = {"node-name": f"libvirt-{index}-storage", "write-threshold": threshold}
        await guest.monitor.execute("block-set-write-threshold", arguments)


def backup_index(xml: str, dev: str) -> int | None:
    """Find the number of a backup's image that a client names; None: it names none.

    Args:
        xml: <domainbackup>; "": there is no backup.
        dev: as the client writes it.
    """
    match = BLOCK_DEVICE.fullmatch(dev)
    if match is None or match[2] is None:
        return None
    store = find_store(xml, int(match[2]))
    return store.index if store is not None and store.name == match[1] else None


def image_index(disks: list[Disk], dev: str) -> int:
    """Find the number of the image that a client names.

    Raises:
        VirError: INVALID_ARG: there is none; INTERNAL_ERROR: the drive is empty.
    """
    match = BLOCK_DEVICE.fullmatch(dev)
    if match is None:
        raise QEMU.errors.invalid_arg(f"failed to parse block device '{dev}'")
    disk = next((disk for disk in disks if disk.target.dev == match[1]), None)
    if disk is None:
        raise QEMU.errors.invalid_arg(f"failed to find disk '{match[1]}'")
    if match[2] is not None:
        if find_indexed(disk, int(match[2])) is None:
            raise QEMU.errors.invalid_arg(f"failed to find disk '{dev}'")
        return int(match[2])
    if disk.source is None or disk.source.index is None:
        detail = f"threshold currently can't be set for block device '{dev}'"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    return disk.source.index


def _format(disk: Disk) -> str:
    _, image_format, _ = disk.chain()[0]
    return image_format


def _top_node(disk: Disk) -> dict[str, object]:
    """Name the drive's image for QEMU: by its node, or where it has none by the drive."""
    if disk.source is None or disk.source.index is None:
        return {"device": drive_qdev(disk)}
    return {"node-name": number_disk(disk, disk.source.index).images[0].format_name}
