"""Logical pools: LVM volume groups and their logical volumes.

Owns: activation of the group, creation and removal of logical volumes.
May touch: the devices of the pool, through LVM's programs only.
"""

from __future__ import annotations

import contextlib
from typing import Final

from conf.storage import Volume, format_sources
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.shield import run_to_completion
from supervisor.stord import commands
from supervisor.stord.backends import lvm
from supervisor.stord.backends.base import BackendContext, CreateOptions, Overwrite, ResizeOptions
from supervisor.stord.backends.wipe_check import require_blank
from supervisor.stord.pool_process.messages import CheckDirectory, Wipe
from supervisor.stord.volume_info import NewVolume, PoolInfo, VolumeInfo

GROUP_S: Final = 60.0


class LogicalBackend:
    """Storage of a pool of type logical."""

    copies_data = False

    def __init__(self, context: BackendContext) -> None:
        self.context = context
        self.group = context.pool.source.name or context.pool.name

    async def check(self) -> bool:
        """Return whether a volume of the group is active: only then is there a /dev/GROUP."""
        try:
            await self.context.process.call(CheckDirectory(path=f"/dev/{self.group}"))
        except VirError:
            return False
        return True

    async def start(self) -> None:
        """Activate the group's volumes."""
        await commands.run_ok(lvm.plan_activate(self.group, on=True), deadline_s=GROUP_S)

    async def stop(self) -> None:
        """Deactivate the group's volumes; LVM refuses one that a guest has open.

        Raises:
            VirError: INTERNAL_ERROR with vgchange's message.
        """
        await commands.run_ok(lvm.plan_activate(self.group, on=False), deadline_s=GROUP_S)

    async def refresh(self) -> PoolInfo:
        """Read the group and its volumes."""
        space = await self.read_space()
        output = await commands.run_ok(lvm.plan_lvs(self.group))
        return PoolInfo(
            capacity=space.capacity,
            allocation=space.allocation,
            available=space.available,
            source_format=space.source_format,
            volumes=lvm.read_volumes(output, self.group),
        )

    async def read_space(self) -> PoolInfo:
        """Read the group's space."""
        return lvm.read_group(await commands.run_ok(lvm.plan_vgs(self.group)))

    async def build(self, overwrite: Overwrite) -> None:
        """Create the group on the pool's devices.

        Raises:
            VirError: OPERATION_FAILED when a device contains data that may not be overwritten.
        """
        devices = [device.path or "" for device in self.context.pool.source.devices]
        if not devices:
            detail = f"pool '{self.context.pool.name}' has no source <device> for its volume group"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        if overwrite is Overwrite.NO:
            for device in devices:
                await require_blank(device)
        prepared: list[str] = []
        try:
            for device in devices:
                await commands.run_ok(lvm.plan_pvcreate(device), deadline_s=GROUP_S)
                prepared.append(device)
            await commands.run_ok(lvm.plan_vgcreate(self.group, devices), deadline_s=GROUP_S)
        except BaseException:
            for device in prepared:
                with contextlib.suppress(VirError):
                    await run_to_completion(commands.run_ok(lvm.plan_pvremove(device)))
            raise

    async def delete(self) -> None:
        """Remove the group and the physical volumes' labels."""
        output = await commands.run_ok(lvm.plan_pvs())
        devices = [
            device.path or ""
            for source in lvm.read_devices(output)
            if source.name == self.group
            for device in source.devices
        ]
        await commands.run_ok(lvm.plan_vgremove(self.group), deadline_s=GROUP_S)
        for device in devices:
            await commands.run_ok(lvm.plan_pvremove(device), deadline_s=GROUP_S)

    # Volumes.

    async def refresh_volume(self, volume: VolumeInfo) -> VolumeInfo:
        """Read one volume.

        Raises:
            VirError: NO_STORAGE_VOL.
        """
        for info in (await self.refresh()).volumes:
            if info.name == volume.name:
                return info
        detail = f"volume '{volume.name}' does not exist in volume group '{self.group}'"
        raise VirError(ErrorCode.NO_STORAGE_VOL, detail, ErrorDomain.STORAGE)

    async def create_volume(self, definition: Volume, options: CreateOptions) -> NewVolume:
        """Create a logical volume."""
        if definition.target.encryption is not None:
            detail = "volumes of a pool of type 'logical' cannot be encrypted by the daemon"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        argv = lvm.plan_lvcreate(self.group, definition)
        if lvm.needs_snapshot_target(definition):
            await commands.run(lvm.plan_load_snapshot_target())
        try:
            await commands.run_ok(argv, deadline_s=GROUP_S)
            info = await self._find_volume(definition.name)
        except BaseException:
            with contextlib.suppress(VirError):
                await run_to_completion(
                    commands.run(lvm.plan_lvremove(self.group, definition.name))
                )
            raise
        return NewVolume(volume=info)

    async def _find_volume(self, name: str) -> VolumeInfo:
        path = f"/dev/{self.group}/{name}"
        return await self.refresh_volume(VolumeInfo(name=name, key="", path=path))

    async def clone_at_once(
        self, definition: Volume, source: VolumeInfo, options: CreateOptions
    ) -> None:
        """Do nothing: a clone is copied to its device after that is there."""

    async def delete_volume(self, volume: VolumeInfo, *, zeroed: bool) -> None:
        """Remove a logical volume; a missing one is no error."""
        if zeroed:
            await self.context.process.call_dedicated(Wipe(path=volume.path))
        argv = lvm.plan_lvremove(self.group, volume.name)
        completed = await commands.run(argv, deadline_s=GROUP_S)
        if completed.code != 0 and any(
            v.name == volume.name for v in (await self.refresh()).volumes
        ):
            raise commands.failed(argv, completed)

    async def resize_volume(
        self, volume: VolumeInfo, capacity: int, options: ResizeOptions
    ) -> None:
        """Resize a logical volume."""
        argv = lvm.plan_lvresize(self.group, volume.name, capacity)
        await commands.run_ok(argv, deadline_s=GROUP_S)


async def find_groups(_: str) -> str:
    """Discover the host's volume groups."""
    output = await commands.run_ok(lvm.plan_pvs())
    return format_sources(lvm.read_devices(output))
