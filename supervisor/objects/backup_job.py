"""What a worker keeps of a backup beyond its own life, and how the last one ended.

Owns: these records of the status file. May not touch: the guest.
Source: libvirt 9.0, qemu_backup.c, and <domainbackup> of the status XML.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class DiskState(StrEnum):
    """How far the backup of one disk is (virDomainBackupDiskState)."""

    NONE = "none"  # QEMU may not have its job yet
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_ended(self) -> bool:
        """Whether QEMU does nothing for it any more."""
        return self not in (DiskState.NONE, DiskState.RUNNING)


class BackupDiskRecord(msgspec.Struct, kw_only=True):
    """One disk of a backup."""

    target: str
    job: str  # its id in QEMU
    node: str  # that has the bitmap
    state: DiskState = DiskState.NONE
    created: str = ""  # the file that was made for it
    #: The file is about to be made: only an empty one is ours.
    is_creating: bool = False
    bitmap: str = ""  # a temporary one, removed at the end
    error: str = ""  # why it fails, where that is known before the end of its job


class BackupRecord(msgspec.Struct, kw_only=True):
    """A backup, from before anything is made for it until nothing is left of it."""

    xml: str  # <domainbackup>, as clients get it
    pull: bool
    reuse: bool = False  # the stores were there, and stay
    #: All of it has begun; if not, who comes after this worker undoes it.
    began: bool = False
    disks: list[BackupDiskRecord] = []
    #: The bitmaps of a checkpoint that begins with it, as node and name: undone with it.
    checkpoint: list[tuple[str, str]] = []
    socket: str = ""  # where its NBD server listens
    tls: bool = False
    error: str = ""  # the first one of a disk
    resume: bool = False  # QEMU has stopped the guest for it: it goes on afterwards
    done: int = 0  # bytes, of disks that have ended
    total: int = 0

    def disk_of(self, job: str) -> BackupDiskRecord | None:
        """Find the disk of a job."""
        return next((disk for disk in self.disks if disk.job == job), None)

    @property
    def is_ended(self) -> bool:
        """Whether every disk has ended."""
        return all(disk.state.is_ended for disk in self.disks)


class BackupEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a guest's last backup ended: for a domd that was not there then."""

    started_at: float  # of its `JobRecord`
    elapsed_ms: int
    outcome: int  # virDomainJobType: COMPLETED, FAILED, CANCELLED
    error: str = ""
    done: int = 0  # bytes: copied, or of the scratch images
    total: int = 0
    pull: bool = False


def outcome_state(states: list[DiskState], *, pull: bool) -> DiskState:
    """Return how a backup has ended whose disks have ended so.

    A pull has no other good end than being cancelled.
    """
    if DiskState.FAILED in states:
        return DiskState.FAILED
    if DiskState.CANCELLED in states and not pull:
        return DiskState.CANCELLED
    return DiskState.COMPLETE
