"""Messages between domd and a QEMU worker about checkpoints of disks.

Owns: their fields. Sender: domd. A disk is named by its target.
"""

from __future__ import annotations

import msgspec

from ipc import Ack, Request


class CreateCheckpoint(Request[Ack], frozen=True, kw_only=True, tag="worker.create_checkpoint"):
    """Have the writes to some disks noted from one moment on.

    Errors: INVALID_ARG: no such disk; AGENT_UNRESPONSIVE and others of the agent, with `quiesce`;
    QEMU's. Nothing has changed then.
    """

    deadline_s = 60.0
    name: str
    disks: list[str]
    quiesce: bool = False  # the guest's agent freezes its file systems meanwhile


class DeleteCheckpoint(Request[Ack], frozen=True, kw_only=True, tag="worker.delete_checkpoint"):
    """Remove a checkpoint's bitmaps from all images of some disks, or none.

    A disk that the guest has not any more is left out.
    Errors: INTERNAL_ERROR: a disk has no such bitmap; QEMU's. Nothing has changed then.
    """

    deadline_s = 60.0
    name: str
    disks: list[str]


class CheckpointDiskState(msgspec.Struct, frozen=True, kw_only=True):
    """What QEMU has of a checkpoint on one disk."""

    disk: str
    is_present: bool  # an image of the disk has a bitmap of the name
    is_valid: bool  # the bitmaps say all that was written since


class FindCheckpoint(
    Request[list[CheckpointDiskState]], frozen=True, kw_only=True, tag="worker.find_checkpoint"
):
    """Query what QEMU has of a checkpoint, for those of the disks that the guest has."""

    deadline_s = 15.0
    name: str
    disks: list[str]


class MeasureCheckpoint(
    Request[dict[str, int]], frozen=True, kw_only=True, tag="worker.measure_checkpoint"
):
    """Query the bytes that were written to disks since a checkpoint.

    A disk that the guest has not any more, or whose bitmaps are not whole, is left out.
    """

    deadline_s = 30.0
    name: str
    disks: list[str]
