"""Pools that are volume groups: their volumes are LVM's.

Owns: activating the group, making and removing logical volumes.
May touch: the devices of the pool, by LVM's programs alone.
"""

from __future__ import annotations

import contextlib
from typing import Final

from conf.storage import Volume, format_sources
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.shield import run_to_completion
from supervisor.stord import commands
from supervisor.stord.backends import lvm
from supervisor.stord.backends.base import Creation, Means, Overwrite, Resizing
from supervisor.stord.backends.wipe_check import refuse_used
from supervisor.stord.pool_process.messages import CheckFolder, Wipe
from supervisor.stord.volume_info import PoolFacts, VolumeFacts

GROUP_S: Final = 60.0


class Logical:
    """A pool of type logical."""

    fills_volumes = False
    is_slow_to_create = False

    def __init__(self, means: Means) -> None:
        """Have this volume group."""
        self.means = means
        self.group = means.pool.source.name or means.pool.name

    async def check(self) -> bool:
        """Whether the group is there, and one of its volumes is active."""
        try:
            await self.means.work.call(CheckFolder(path=f"/dev/{self.group}"))
        except VirError:
            return False
        return True

    async def start(self) -> None:
        """Activate the group's volumes."""
        await commands.run_ok(lvm.plan_activate(self.group, on=True), deadline_s=GROUP_S)

    async def stop(self) -> None:
        """Deactivate them; one that a guest uses keeps the pool active.

        Raises:
            VirError: INTERNAL_ERROR with what LVM said.
        """
        await commands.run_ok(lvm.plan_activate(self.group, on=False), deadline_s=GROUP_S)

    async def refresh(self) -> PoolFacts:
        """Look at the group and its volumes."""
        space = await self.measure()
        said = await commands.run_ok(lvm.plan_volumes(self.group))
        return PoolFacts(
            capacity=space.capacity,
            allocation=space.allocation,
            available=space.available,
            source_format=space.source_format,
            volumes=lvm.read_volumes(said, self.group),
        )

    async def measure(self) -> PoolFacts:
        """The group's space."""
        return lvm.read_group(await commands.run_ok(lvm.plan_groups(self.group)))

    async def build(self, overwrite: Overwrite) -> None:
        """Make the group of the pool's devices.

        Raises:
            VirError: OPERATION_FAILED when a device has something on it and may not lose it.
        """
        devices = [device.path or "" for device in self.means.pool.source.devices]
        if not devices:
            detail = f"pool '{self.means.pool.name}' names no <device> to make a group of"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        if overwrite is Overwrite.NO:
            for device in devices:
                await refuse_used(device)
        prepared: list[str] = []
        try:
            for device in devices:
                await commands.run_ok(lvm.plan_prepare(device), deadline_s=GROUP_S)
                prepared.append(device)
            await commands.run_ok(lvm.plan_group(self.group, devices), deadline_s=GROUP_S)
        except BaseException:
            for device in prepared:
                with contextlib.suppress(VirError):
                    await run_to_completion(commands.run_ok(lvm.plan_release(device)))
            raise

    async def delete(self) -> None:
        """Remove the group; its devices are ordinary ones then."""
        said = await commands.run_ok(lvm.plan_devices())
        devices = [
            device.path or ""
            for source in lvm.read_devices(said)
            if source.name == self.group
            for device in source.devices
        ]
        await commands.run_ok(lvm.plan_ungroup(self.group), deadline_s=GROUP_S)
        for device in devices:
            await commands.run_ok(lvm.plan_release(device), deadline_s=GROUP_S)

    # Volumes.

    async def find_volume(self, volume: VolumeFacts) -> VolumeFacts:
        """Look at one volume anew.

        Raises:
            VirError: NO_STORAGE_VOL.
        """
        for found in (await self.refresh()).volumes:
            if found.name == volume.name:
                return found
        detail = f"volume '{volume.name}' has gone from the group '{self.group}'"
        raise VirError(ErrorCode.NO_STORAGE_VOL, detail, ErrorDomain.STORAGE)

    async def create_volume(self, wanted: Volume, how: Creation) -> VolumeFacts:
        """Make a logical volume."""
        if wanted.target.encryption is not None:
            detail = "volumes of a pool of type 'logical' cannot be encrypted by the daemon"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        argv = lvm.plan_create(self.group, wanted)
        if lvm.needs_snapshots(wanted):
            await commands.run(lvm.plan_snapshots())
        try:
            await commands.run_ok(argv, deadline_s=GROUP_S)
            made = await self._named(wanted.name)
        except BaseException:
            with contextlib.suppress(VirError):
                await run_to_completion(commands.run(lvm.plan_remove(self.group, wanted.name)))
            raise
        return made

    async def _named(self, name: str) -> VolumeFacts:
        path = f"/dev/{self.group}/{name}"
        return await self.find_volume(VolumeFacts(name=name, key="", path=path))

    async def delete_volume(self, volume: VolumeFacts, *, zeroed: bool) -> None:
        """Remove a logical volume; one that has gone is no error."""
        if zeroed:
            await self.means.work.call_alone(Wipe(path=volume.path))
        argv = lvm.plan_remove(self.group, volume.name)
        ended = await commands.run(argv, deadline_s=GROUP_S)
        if ended.code != 0 and any(v.name == volume.name for v in (await self.refresh()).volumes):
            raise commands.failed(argv, ended)

    async def resize_volume(self, volume: VolumeFacts, capacity: int, how: Resizing) -> None:
        """Give a logical volume another size."""
        argv = lvm.plan_resize(self.group, volume.name, capacity)
        await commands.run_ok(argv, deadline_s=GROUP_S)


async def find_groups(_: str) -> str:
    """Every volume group of the host."""
    said = await commands.run_ok(lvm.plan_devices())
    return format_sources(lvm.read_devices(said))
