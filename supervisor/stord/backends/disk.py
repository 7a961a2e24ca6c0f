"""Disk pools: a partition table and its partitions.

Owns: the disk's partition table, through parted. May touch: the pool's device only.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from conf.storage import Volume
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.shield import run_to_completion
from supervisor.stord import commands
from supervisor.stord.backends import partitions
from supervisor.stord.backends.base import (
    BackendContext,
    CreateOptions,
    Overwrite,
    ResizeOptions,
    not_supported,
)
from supervisor.stord.backends.partitions import Partition, PartitionTable
from supervisor.stord.backends.wipe_check import require_blank
from supervisor.stord.pool_process.messages import Wipe
from supervisor.stord.volume_info import Extent, FreeExtent, NewVolume, PoolInfo, VolumeInfo

TABLE_S: Final = 60.0
UDEV_SETTLE: Final = ["udevadm", "settle", "--timeout=20"]
UNKNOWN: Final = "unknown"
DEFAULT_LABEL: Final = "dos"


class DiskBackend:
    """Storage of a pool of type disk."""

    copies_data = False

    def __init__(self, context: BackendContext) -> None:
        self.context = context
        self.source = context.pool.source.devices[0]
        self.device = self.source.path

    async def check(self) -> bool:
        """Return whether the disk has the partition table of the definition."""
        try:
            await self._read_table()
        except VirError:
            return False
        return True

    async def start(self) -> None:
        """Check that the disk has the partition table of the definition.

        Raises:
            VirError: OPERATION_FAILED for another table; INTERNAL_ERROR without one.
        """
        await self._read_table()

    async def stop(self) -> None:
        """Do nothing: a disk needs no deactivation."""

    async def refresh(self) -> PoolInfo:
        """Read the partition table."""
        await self._settle()
        return pool_info(await self._read_table(), kernel_path(self.device), self._separator)

    async def read_space(self) -> PoolInfo:
        """Read the disk's space."""
        return await self.refresh()

    async def build(self, overwrite: Overwrite) -> None:
        """Create an empty partition table.

        Raises:
            VirError: OPERATION_FAILED when the disk contains data that may not be overwritten.
        """
        if overwrite is not Overwrite.YES:
            await require_blank(self.device)
        source_format = self.context.pool.source.format or UNKNOWN
        label = DEFAULT_LABEL if source_format == UNKNOWN else source_format
        argv = partitions.plan_label(kernel_path(self.device), label)
        await commands.run_ok(argv, deadline_s=TABLE_S)
        await self._settle()

    async def delete(self) -> None:
        """Refuse, as libvirt does.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise not_supported(self.context.pool, "deleting")

    # Volumes.

    async def refresh_volume(self, volume: VolumeInfo) -> VolumeInfo:
        """Read one partition.

        Raises:
            VirError: NO_STORAGE_VOL.
        """
        for info in (await self.refresh()).volumes:
            if info.name == volume.name:
                return info
        detail = f"partition '{volume.name}' does not exist on '{self.device}'"
        raise VirError(ErrorCode.NO_STORAGE_VOL, detail, ErrorDomain.STORAGE)

    async def create_volume(self, definition: Volume, options: CreateOptions) -> NewVolume:
        """Create a partition; its name follows from its number.

        Raises:
            VirError: INVALID_ARG when the XML has another name.
        """
        if definition.target.encryption is not None:
            detail = "partitions cannot be encrypted by the daemon"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        table, device = await self._read_table(), kernel_path(self.device)
        kind, _ = partitions.partition_type(table, definition.target.format or "none")
        number = partitions.next_number(table, kind)
        expected = os.path.basename(partition_path(device, self._separator, number))
        if definition.name != expected:
            detail = f"invalid partition name '{definition.name}', expected '{expected}'"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        try:
            for argv in partitions.plan_create(device, table, definition):
                await commands.run_ok(argv, deadline_s=TABLE_S)
            path = partition_path(device, self._separator, number)
            wanted = VolumeInfo(name=expected, key=path, path=path)
            return NewVolume(volume=await self.refresh_volume(wanted))
        except BaseException:
            with contextlib.suppress(VirError):
                if number not in {part.number for part in table.partitions}:
                    await run_to_completion(commands.run(partitions.plan_remove(device, number)))
            raise

    async def clone_at_once(
        self, definition: Volume, source: VolumeInfo, options: CreateOptions
    ) -> None:
        """Do nothing: a clone is copied to its device after that is there."""

    async def delete_volume(self, volume: VolumeInfo, *, zeroed: bool) -> None:
        """Remove a partition; a missing one is no error."""
        device = kernel_path(self.device)
        for part in (await self._read_table()).partitions:
            path = partition_path(device, self._separator, part.number)
            if os.path.basename(path) == volume.name:
                if zeroed:
                    await self.context.process.call_dedicated(Wipe(path=path))
                argv = partitions.plan_remove(device, part.number)
                await commands.run_ok(argv, deadline_s=TABLE_S)
                await self._settle()

    async def resize_volume(
        self, volume: VolumeInfo, capacity: int, options: ResizeOptions
    ) -> None:
        """Refuse: the next partition follows without a gap.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise not_supported(self.context.pool, "resizing volumes")

    async def _read_table(self) -> PartitionTable:
        text = await commands.run_ok(partitions.plan_table(kernel_path(self.device)))
        table = partitions.read_table(text)
        expected = self.context.pool.source.format or UNKNOWN
        if expected not in (UNKNOWN, table.label):
            detail = (
                f"format '{table.label}' of device '{self.device}' does not match the expected "
                f"format '{expected}'"
            )
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
        return table

    async def _settle(self) -> None:
        """Wait until udev has created the device nodes of new partitions."""
        if commands.has_program(UDEV_SETTLE[0]):
            await commands.run(UDEV_SETTLE)

    @property
    def _separator(self) -> str:
        """Return the "p" between disk name and partition number: /dev/nvme0n1p1, but /dev/sda1."""
        if self.source.part_separator is not None:
            return "p" if self.source.part_separator else ""
        return "p" if kernel_path(self.device)[-1:].isdigit() else ""


def kernel_path(device: str) -> str:
    """Resolve a device's symbolic link; /dev is a tmpfs, so this never blocks."""
    return os.path.realpath(device)


def partition_path(device: str, separator: str, number: int) -> str:
    """Return a partition's device node."""
    return f"{device}{separator}{number}"


def pool_info(table: PartitionTable, device: str, separator: str) -> PoolInfo:
    """Describe a disk by its partition table. Pure."""
    used = sum(part.size for part in table.partitions if part.content != "extended")
    return PoolInfo(
        capacity=table.size,
        allocation=used,
        available=sum(space.size for space in table.free),
        volumes=tuple(volume_info(part, device, separator) for part in table.partitions),
        free=tuple(
            FreeExtent(device=device, start=extent.start, end=extent.end) for extent in table.free
        ),
        source_format=table.label,
    )


def volume_info(part: Partition, device: str, separator: str) -> VolumeInfo:
    """Describe a partition as a volume. Pure."""
    path = partition_path(device, separator, part.number)
    return VolumeInfo(
        name=os.path.basename(path),
        key=path,
        path=path,
        type="block",
        format="extended" if part.content == "extended" else "none",
        capacity=part.size,
        allocation=part.size,
        physical=part.size,
        extents=(Extent(device=device, start=part.start, end=part.end),),
    )
