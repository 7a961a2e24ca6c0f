"""domd's requests about images of disks: overlays, snapshots in images, block jobs.

Owns: one method per message. May touch: the domain, by `supervisor.workers.qemu.block`.
May not touch: definitions, other domains.

They go on to their ends if the caller is lost: half a snapshot would leave QEMU and the live XML
with different images.
"""

from __future__ import annotations

from conf.errors import ConfError
from ipc import Ack, handles
from rpc.errors import ErrorDomain
from supervisor.dispatch.errors import from_conf_error
from supervisor.messages.block import (
    BackupProgress,
    BeginBackup,
    BlockCommit,
    BlockCopy,
    BlockJobAbort,
    BlockJobProgress,
    BlockJobSetSpeed,
    BlockPull,
    CreateOverlays,
    DeleteInternal,
    DiskChangesSaved,
    GetBackupProgress,
    GetBlockJob,
    MergeImage,
    SaveExternal,
    SaveInternal,
)
from supervisor.messages.checkpoint import (
    CheckpointDiskState,
    CreateCheckpoint,
    DeleteCheckpoint,
    FindCheckpoint,
    MeasureCheckpoint,
)
from supervisor.messages.worker import DomainStatus
from supervisor.runtime.shield import run_to_completion
from supervisor.workers.qemu.block import (
    backups,
    block_jobs,
    checkpoints,
    copies,
    internal_snapshots,
    overlays,
)
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.migration.snapshot import save_external
from supervisor.workers.worker import Worker


class ImageRequests(Worker[Guest]):
    """The part of a QEMU worker that is about images."""

    @handles(DiskChangesSaved)
    def disk_changes_saved(self, request: DiskChangesSaved) -> Ack:
        """Forget changes of disks that the definition has."""
        guest = self.guest()
        changes = guest.status.disk_changes
        guest.status.disk_changes = [one for one in changes if one.number > request.up_to]
        guest.save()
        return Ack()

    @handles(CreateOverlays)
    async def create_overlays(self, request: CreateOverlays) -> DomainStatus:
        """Put overlays on top of disks."""
        guest = await self.wait_running()
        return await self._change_device(overlays.create_overlays(guest, request))

    @handles(SaveExternal)
    async def save_external(self, request: SaveExternal) -> Ack:
        """Save memory in a file, and put overlays on top of disks."""
        guest = await self.wait_running()
        try:
            # To its end, also if domd is gone: half a snapshot leaves the guest paused.
            await run_to_completion(save_external(guest, request))
        except ConfError as error:
            raise from_conf_error(error, ErrorDomain.QEMU) from error
        return Ack()

    @handles(SaveInternal)
    async def save_internal(self, request: SaveInternal) -> DomainStatus:
        """Save memory and disks in the images."""
        guest = await self.wait_running()
        return await self._change_device(internal_snapshots.save_internal(guest, request.name))

    @handles(DeleteInternal)
    async def delete_internal(self, request: DeleteInternal) -> Ack:
        """Delete a snapshot in the images."""
        guest = await self.wait_running()
        await self._change_device(internal_snapshots.delete_internal(guest, request.name))
        return Ack()

    @handles(BeginBackup)
    async def begin_backup(self, request: BeginBackup) -> DomainStatus:
        """Begin a backup."""
        guest = await self.wait_running()
        return await self._change_device(backups.begin_backup(guest, request))

    @handles(GetBackupProgress)
    async def get_backup_progress(self, _: GetBackupProgress) -> BackupProgress:
        """Query how far the backup is."""
        return BackupProgress(progress=await backups.progress(self.guest()))

    @handles(BlockCommit)
    async def block_commit(self, request: BlockCommit) -> DomainStatus:
        """Begin to merge images into one below them."""
        return await self._change_device(block_jobs.commit(await self.wait_running(), request))

    @handles(BlockPull)
    async def block_pull(self, request: BlockPull) -> DomainStatus:
        """Begin to merge images into the top one."""
        return await self._change_device(block_jobs.pull(await self.wait_running(), request))

    @handles(BlockCopy)
    async def block_copy(self, request: BlockCopy) -> DomainStatus:
        """Begin to copy a disk."""
        return await self._change_device(copies.copy(await self.wait_running(), request))

    @handles(MergeImage)
    async def merge_image(self, request: MergeImage) -> DomainStatus:
        """Merge an image into the one below it."""
        guest = await self.wait_running()
        await block_jobs.merge(guest, request)
        return guest.get_status()

    @handles(BlockJobAbort)
    async def block_job_abort(self, request: BlockJobAbort) -> DomainStatus:
        """End a block job."""
        guest = await self.wait_running()
        # Without the device lock, which the job's end takes.
        await block_jobs.abort(guest, request)
        return guest.get_status()

    @handles(BlockJobSetSpeed)
    async def block_job_set_speed(self, request: BlockJobSetSpeed) -> Ack:
        """Limit a block job."""
        await block_jobs.set_speed(await self.wait_running(), request)
        return Ack()

    @handles(GetBlockJob)
    async def get_block_job(self, request: GetBlockJob) -> BlockJobProgress:
        """Query a disk's block job."""
        return await block_jobs.progress(await self.wait_running(), request.path)

    @handles(CreateCheckpoint)
    async def create_checkpoint(self, request: CreateCheckpoint) -> Ack:
        """Have the writes to some disks noted."""
        guest = await self.wait_running()
        await self._change_device(checkpoints.create(guest, request))
        return Ack()

    @handles(DeleteCheckpoint)
    async def delete_checkpoint(self, request: DeleteCheckpoint) -> Ack:
        """Note the writes since a checkpoint no more."""
        guest = await self.wait_running()
        await self._change_device(checkpoints.delete(guest, request))
        return Ack()

    @handles(FindCheckpoint)
    async def find_checkpoint(self, request: FindCheckpoint) -> list[CheckpointDiskState]:
        """Query what QEMU has of a checkpoint."""
        guest = await self.wait_running()
        async with guest.device_lock:  # what makes one has made it, or is undone
            await backups.settle_backup(guest)
            return await checkpoints.find(guest, request)

    @handles(MeasureCheckpoint)
    async def measure_checkpoint(self, request: MeasureCheckpoint) -> dict[str, int]:
        """Query how much was written since a checkpoint."""
        guest = await self.wait_running()
        async with guest.device_lock:  # two measurements would have one bitmap's name
            return await checkpoints.measure(guest, request)
