"""What a worker keeps of block jobs and of overlays under way, beyond its own life.

Owns: these records of the status file. May not touch: the guest.
Source: libvirt 9.0, qemuBlockJobData and <blockjobs> of the status XML.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from rpc.enums import DomainBlockJobType


class BlockJobKind(StrEnum):
    """The block jobs of clients."""

    PULL = "pull"
    COMMIT = "commit"
    ACTIVE_COMMIT = "active-commit"
    COPY = "copy"
    BACKUP = "backup"  # of one disk of a backup (`supervisor.objects.backup_job`)


JOB_TYPES: Final = {
    BlockJobKind.PULL: DomainBlockJobType.PULL,
    BlockJobKind.COMMIT: DomainBlockJobType.COMMIT,
    BlockJobKind.ACTIVE_COMMIT: DomainBlockJobType.ACTIVE_COMMIT,
    BlockJobKind.COPY: DomainBlockJobType.COPY,
    BlockJobKind.BACKUP: DomainBlockJobType.BACKUP,
}


class BlockJobState(StrEnum):
    """How far a block job is."""

    NEW = "new"  # QEMU may not have it yet
    RUNNING = "running"
    READY = "ready"  # it follows the guest's writes, and waits to be ended
    ABORTING = "aborting"
    PIVOTING = "pivoting"


class BlockJobRecord(msgspec.Struct, kw_only=True):
    """A block job: from before QEMU has it until its end is in the live XML."""

    id: str  # in QEMU
    kind: BlockJobKind
    target: str  # of the disk
    state: BlockJobState = BlockJobState.NEW
    top: int | None = None  # numbers of images: of a commit
    base: int | None = None  # None: a pull of everything
    delete: bool = False  # the committed images, when all is done
    pivots: bool = False  # an active commit: as soon as it is ready, without being asked
    shallow: bool = False  # of a copy: it keeps the images below
    late_chain: bool = False  # of a copy: its chain is opened at the pivot
    created: str = ""  # a file that was made for a copy, removed if the copy cannot begin
    #: Why QEMU has concluded it, "" where all is done; None: it has not, or still knows the job.
    error: str | None = None


class PendingOverlay(msgspec.Struct, frozen=True, kw_only=True):
    """An overlay that QEMU is about to write to."""

    target: str  # of the disk
    disk: str  # the live <disk> with the overlay on top
    index: int  # of the overlay's nodes
    created: str = ""  # a file that was made for it
