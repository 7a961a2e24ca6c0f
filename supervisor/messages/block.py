"""Messages between domd and a QEMU worker about images of disks.

Owns: their fields. Sender: domd.
"""

from __future__ import annotations

import msgspec

from ipc import Ack, Request
from supervisor.messages.worker import LONG_S, DomainStatus
from supervisor.objects.job import JobProgress, JobRecord


class DiskChangesSaved(Request[Ack], frozen=True, kw_only=True, tag="worker.disk_changes_saved"):
    """Forget changes of disks: the definition has them (`DomainStatus.disk_changes`)."""

    deadline_s = 5.0
    up_to: int  # the highest number


class CreateOverlays(
    Request[DomainStatus], frozen=True, kw_only=True, tag="worker.create_overlays"
):
    """Put an overlay on top of each of some disks: all at one moment, or none.

    Errors: those of `block.live_disks`; CONFIG_UNSUPPORTED, SYSTEM_ERROR: a file cannot be made;
    AGENT_UNRESPONSIVE and others of the agent, with `quiesce`; QEMU's. Nothing has changed then.
    """

    deadline_s = 110.0
    disks: list[str]  # <disk> of a <domainsnapshot>, with format and source
    reuse: bool = False  # the files are there
    quiesce: bool = False  # the guest's agent freezes its file systems meanwhile


class SaveExternal(Request[Ack], frozen=True, kw_only=True, tag="worker.save_external"):
    """Save memory to a file and put overlays on disks, both of one moment.

    Errors: as `Save` and `CreateOverlays`. The guest goes on then, on the images that it had.
    """

    deadline_s = LONG_S
    job: JobRecord
    path: str
    xml: str  # for the image, passwords included
    cookie: str  # for the image: what is not in its XML
    compression: int = 0  # virQEMUSaveFormat
    live: bool = False  # the vCPUs run until the memory is nearly saved
    halt: bool = False  # the guest stays paused, to be ended
    disks: list[str]  # as `CreateOverlays`
    reuse: bool = False


class SaveInternal(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.save_internal"):
    """Save memory and disks as a snapshot in the images; the vCPUs are stopped meanwhile.

    Errors: OPERATION_INVALID; OPERATION_FAILED with QEMU's text. The guest goes on either way.
    """

    deadline_s = 1800.0
    name: str


class DeleteInternal(Request[Ack], frozen=True, kw_only=True, tag="worker.delete_internal"):
    """Delete a snapshot in the images; one that is not there is no error."""

    deadline_s = 300.0
    name: str


class BlockCommit(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.block_commit"):
    """Begin to merge images into one below them.

    Errors: INVALID_ARG, OPERATION_INVALID, OPERATION_UNSUPPORTED, BLOCK_COPY_ACTIVE,
    CONFIG_UNSUPPORTED, QEMU's.
    """

    deadline_s = 30.0
    path: str
    base: str | None
    top: str | None
    bandwidth: int  # bytes a second; 0: no limit
    flags: int  # virDomainBlockCommitFlags


class BlockPull(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.block_pull"):
    """Begin to merge the images below the top one into it. Errors: as `BlockCommit`."""

    deadline_s = 30.0
    path: str
    base: str | None  # the image that stays below
    bandwidth: int
    relative: bool = False


class BlockCopy(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.block_copy"):
    """Begin to copy a disk to another image. Errors: as `BlockCommit`, and SYSTEM_ERROR."""

    deadline_s = 110.0
    path: str
    destination: str  # <disk> with its source and format
    bandwidth: int
    granularity: int = 0  # bytes
    buffer_size: int = 0  # bytes
    shallow: bool = False
    reuse: bool = False
    synchronous: bool = False  # the guest's writes wait for the copy's
    #: The domain is persistent, and the client has not said that the job may end with the guest.
    refuse_persistent: bool = False


class BeginBackup(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.begin_backup"):
    """Begin a backup of disks, all of one moment; it goes on after the reply.

    `DomainStatus.backup` has it meanwhile, `DomainStatus.backup_end` how it ended.
    Errors: OPERATION_INVALID: another job; INVALID_ARG, SYSTEM_ERROR: a file cannot be made;
    CHECKPOINT_INCONSISTENT; QEMU's. Nothing is left then, but for a backup whose status says that
    it has begun: that one is being ended.
    """

    deadline_s = 280.0
    job: JobRecord
    xml: str  # <domainbackup>, aligned with the guest's disks
    reuse: bool = False  # the targets or scratch images are there
    #: A checkpoint that begins at the same moment, and the targets of its disks.
    checkpoint: str = ""
    checkpoint_disks: tuple[str, ...] = ()


class BackupProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a guest's backup is."""

    progress: JobProgress


class GetBackupProgress(
    Request[BackupProgress], frozen=True, kw_only=True, tag="worker.get_backup_progress"
):
    """Query how far the backup is. Errors: OPERATION_INVALID: there is none; QEMU's.

    Who asks for a job is answered soon: with the last figures, if there are no new ones by then.
    """

    deadline_s = 0.05


class MergeImage(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.merge_image"):
    """Merge an image into the one below it, to the end, and remove it.

    Errors: as `BlockCommit`; INTERNAL_ERROR: the job failed.
    """

    deadline_s = 3600.0
    target: str
    top: str
    base: str


class BlockJobAbort(Request[DomainStatus], frozen=True, kw_only=True, tag="worker.block_job_abort"):
    """End a block job: cancel it, or (`pivot`) have the guest use what it has made.

    The reply comes when the job has ended, with `wait`.
    Errors: INVALID_ARG: no job; OPERATION_INVALID: it ends already; BLOCK_COPY_ACTIVE: it cannot
    pivot yet; OPERATION_FAILED: the pivot failed.
    """

    deadline_s = 600.0
    path: str
    pivot: bool
    wait: bool


class BlockJobSetSpeed(Request[Ack], frozen=True, kw_only=True, tag="worker.block_job_set_speed"):
    """Limit a block job. Errors: INVALID_ARG: no job; QEMU's."""

    deadline_s = 15.0
    path: str
    bandwidth: int


class BlockJobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a block job is (virDomainBlockJobInfo); type 0: there is none."""

    type: int = 0
    bandwidth: int = 0  # bytes a second
    current: int = 0
    end: int = 0


class GetBlockJob(Request[BlockJobProgress], frozen=True, kw_only=True, tag="worker.get_block_job"):
    """Query a disk's block job. Errors: INVALID_ARG: no such disk."""

    deadline_s = 15.0
    path: str
