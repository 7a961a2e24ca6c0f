"""What the emulator answers to the questions that we ask, as far as it is of use.

Owns: the shapes. May touch: nothing.
Source: QEMU 7.2's QMP reference.
"""

from __future__ import annotations

import msgspec


class StatusInfo(msgspec.Struct, frozen=True):
    """`query-status`."""

    status: str = ""
    running: bool = False


class ChardevInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """A character device (`query-chardev`)."""

    label: str
    filename: str = ""
    frontend_open: bool = False


class CpuInfoFast(msgspec.Struct, frozen=True, rename="kebab"):
    """A processor (`query-cpus-fast`)."""

    cpu_index: int
    thread_id: int
    qom_path: str = ""


class IOThreadInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """`query-iothreads`."""

    id: str
    thread_id: int
    poll_max_ns: int = 0
    poll_grow: int = 0
    poll_shrink: int = 0


class BlockDeviceStats(msgspec.Struct, frozen=True):
    """A node's counters."""

    rd_bytes: int = 0
    wr_bytes: int = 0
    rd_operations: int = 0
    wr_operations: int = 0
    flush_operations: int = 0
    rd_total_time_ns: int = 0
    wr_total_time_ns: int = 0
    flush_total_time_ns: int = 0
    wr_highest_offset: int = 0


class BlockParent(msgspec.Struct, frozen=True):
    """The node below."""

    stats: BlockDeviceStats = BlockDeviceStats()


class BlockStats(msgspec.Struct, frozen=True, rename="kebab"):
    """One drive of `query-blockstats`."""

    qdev: str = ""
    device: str = ""
    node_name: str = ""
    stats: BlockDeviceStats = BlockDeviceStats()
    parent: BlockParent | None = None


class ImageInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """An image's sizes."""

    virtual_size: int = 0
    actual_size: int | None = None


class BlockDeviceInfo(msgspec.Struct, frozen=True):
    """What is in a drive."""

    image: ImageInfo = ImageInfo()


class BlockInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """One drive of `query-block`."""

    qdev: str = ""
    device: str = ""
    inserted: BlockDeviceInfo | None = None
    io_status: str = "ok"


class BalloonInfo(msgspec.Struct, frozen=True):
    """`query-balloon`."""

    actual: int = 0


class GuestStats(msgspec.Struct, frozen=True, rename="kebab"):
    """What the balloon driver reports."""

    stats: dict[str, int] = {}
    last_update: int = 0
