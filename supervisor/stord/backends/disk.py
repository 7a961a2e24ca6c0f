"""Pools that are disks: their volumes are partitions.

Owns: the disk's partition table, by parted. May touch: the pool's device alone.
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
from supervisor.stord.backends.base import Creation, Means, Overwrite, Resizing, unsupported
from supervisor.stord.backends.partitions import Part, Table
from supervisor.stord.backends.wipe_check import refuse_used
from supervisor.stord.pool_process.messages import Wipe
from supervisor.stord.volume_info import Extent, FreeSpace, PoolFacts, VolumeFacts

TABLE_S: Final = 60.0
SETTLE: Final = ["udevadm", "settle", "--timeout=20"]
UNKNOWN: Final = "unknown"
DEFAULT_LABEL: Final = "dos"


class Disk:
    """A pool of type disk."""

    fills_volumes = False
    is_slow_to_create = False

    def __init__(self, means: Means) -> None:
        """Have this disk."""
        self.means = means
        self.source = means.pool.source.devices[0]
        self.device = self.source.path

    async def check(self) -> bool:
        """Whether the disk is there, and has the table that it should have."""
        try:
            await self._table()
        except VirError:
            return False
        return True

    async def start(self) -> None:
        """See that the disk has the table that it should have.

        Raises:
            VirError: OPERATION_FAILED for another table; INTERNAL_ERROR without one.
        """
        await self._table()

    async def stop(self) -> None:
        """Leave the disk as it is."""

    async def refresh(self) -> PoolFacts:
        """Look at the table."""
        await self._settle()
        return facts_of(await self._table(), real_path(self.device), self._separator)

    async def measure(self) -> PoolFacts:
        """The disk's space."""
        return await self.refresh()

    async def build(self, overwrite: Overwrite) -> None:
        """Make an empty table.

        Raises:
            VirError: OPERATION_FAILED when the disk has something on it that may not be lost.
        """
        if overwrite is not Overwrite.YES:
            await refuse_used(self.device)
        wanted = self.means.pool.source.format or UNKNOWN
        label = DEFAULT_LABEL if wanted == UNKNOWN else wanted
        argv = partitions.plan_label(real_path(self.device), label)
        await commands.run_ok(argv, deadline_s=TABLE_S)
        await self._settle()

    async def delete(self) -> None:
        """Refuse: a disk has a table as long as it is one.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise unsupported(self.means.pool, "deleting")

    # Volumes.

    async def find_volume(self, volume: VolumeFacts) -> VolumeFacts:
        """Look at one partition anew.

        Raises:
            VirError: NO_STORAGE_VOL.
        """
        for found in (await self.refresh()).volumes:
            if found.name == volume.name:
                return found
        detail = f"partition '{volume.name}' has gone from '{self.device}'"
        raise VirError(ErrorCode.NO_STORAGE_VOL, detail, ErrorDomain.STORAGE)

    async def create_volume(self, wanted: Volume, how: Creation) -> VolumeFacts:
        """Make a partition; its name is the table's choice.

        Raises:
            VirError: INVALID_ARG when the document has another name.
        """
        if wanted.target.encryption is not None:
            detail = "partitions cannot be encrypted by the daemon"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        table, device = await self._table(), real_path(self.device)
        kind, _ = partitions.kind_of(table, wanted.target.format or "none")
        number = partitions.next_number(table, kind)
        expected = os.path.basename(path_of(device, self._separator, number))
        if wanted.name != expected:
            detail = f"invalid partition name '{wanted.name}', expected '{expected}'"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        try:
            for argv in partitions.plan_make(device, table, wanted):
                await commands.run_ok(argv, deadline_s=TABLE_S)
            path = path_of(device, self._separator, number)
            return await self.find_volume(VolumeFacts(name=expected, key=path, path=path))
        except BaseException:
            with contextlib.suppress(VirError):
                if number not in {part.number for part in table.parts}:
                    await run_to_completion(commands.run(partitions.plan_remove(device, number)))
            raise

    async def delete_volume(self, volume: VolumeFacts, *, zeroed: bool) -> None:
        """Remove a partition; one that has gone is no error."""
        device = real_path(self.device)
        for part in (await self._table()).parts:
            path = path_of(device, self._separator, part.number)
            if os.path.basename(path) == volume.name:
                if zeroed:
                    await self.means.work.call_alone(Wipe(path=path))
                argv = partitions.plan_remove(device, part.number)
                await commands.run_ok(argv, deadline_s=TABLE_S)
                await self._settle()

    async def resize_volume(self, volume: VolumeFacts, capacity: int, how: Resizing) -> None:
        """Refuse: what lies behind a partition is in its way.

        Raises:
            VirError: NO_SUPPORT.
        """
        raise unsupported(self.means.pool, "resizing volumes")

    async def _table(self) -> Table:
        text = await commands.run_ok(partitions.plan_table(real_path(self.device)))
        table = partitions.read_table(text)
        wanted = self.means.pool.source.format or UNKNOWN
        if wanted not in (UNKNOWN, table.label):
            detail = (
                f"format '{table.label}' of device '{self.device}' does not match the expected "
                f"format '{wanted}'"
            )
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
        return table

    async def _settle(self) -> None:
        """Wait for the devices of new partitions; a host without udev has them at once."""
        if commands.has(SETTLE[0]):
            await commands.run(SETTLE)

    @property
    def _separator(self) -> str:
        """What stands between a disk's name and a partition's number."""
        if self.source.part_separator is not None:
            return "p" if self.source.part_separator else ""
        return "p" if real_path(self.device)[-1:].isdigit() else ""


def real_path(device: str) -> str:
    """The name that the kernel gives a device; /dev is in memory, and never hangs."""
    return os.path.realpath(device)


def path_of(device: str, separator: str, number: int) -> str:
    """A partition's device."""
    return f"{device}{separator}{number}"


def facts_of(table: Table, device: str, separator: str) -> PoolFacts:
    """A disk with this table. Pure."""
    used = sum(part.size for part in table.parts if part.holds != "extended")
    return PoolFacts(
        capacity=table.size,
        allocation=used,
        available=sum(space.size for space in table.free),
        volumes=tuple(volume_of(part, device, separator) for part in table.parts),
        free=tuple(FreeSpace(device=device, start=one.start, end=one.end) for one in table.free),
        source_format=table.label,
    )


def volume_of(part: Part, device: str, separator: str) -> VolumeFacts:
    """A partition as a volume. Pure."""
    path = path_of(device, separator, part.number)
    return VolumeFacts(
        name=os.path.basename(path),
        key=path,
        path=path,
        type="block",
        format="extended" if part.holds == "extended" else "none",
        capacity=part.size,
        allocation=part.size,
        physical=part.size,
        extents=(Extent(device=device, start=part.start, end=part.end),),
    )
