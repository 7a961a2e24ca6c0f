"""Types of QMP replies, with the members that are used; named as in QEMU's schema.

Owns: the types. May touch: values only.
Source: QEMU 7.2, "QEMU QMP Reference Manual".
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
    """A vCPU (`query-cpus-fast`)."""

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
    """Counters of a block backend or node."""

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
    """The node below, in `query-blockstats`."""

    stats: BlockDeviceStats = BlockDeviceStats()


class BlockStats(msgspec.Struct, frozen=True, rename="kebab"):
    """One drive of `query-blockstats`."""

    qdev: str = ""
    device: str = ""
    node_name: str = ""
    stats: BlockDeviceStats = BlockDeviceStats()
    parent: BlockParent | None = None


class ImageInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """Sizes of an image, in bytes."""

    virtual_size: int = 0
    actual_size: int | None = None


class BlockDeviceInfo(msgspec.Struct, frozen=True):
    """The medium of a drive, and its I/O limits; without a burst there is none of its fields."""

    image: ImageInfo = ImageInfo()
    group: str = ""  # of the limits: drives share them
    bps: int = 0
    bps_rd: int = 0
    bps_wr: int = 0
    iops: int = 0
    iops_rd: int = 0
    iops_wr: int = 0
    bps_max: int = 0
    bps_rd_max: int = 0
    bps_wr_max: int = 0
    iops_max: int = 0
    iops_rd_max: int = 0
    iops_wr_max: int = 0
    bps_max_length: int = 0
    bps_rd_max_length: int = 0
    bps_wr_max_length: int = 0
    iops_max_length: int = 0
    iops_rd_max_length: int = 0
    iops_wr_max_length: int = 0
    iops_size: int = 0

    def limits(self) -> dict[str, int | str]:
        """Return the limits by QEMU's names."""
        names = (name for name in self.__struct_fields__ if name != "image")
        return {name: getattr(self, name) for name in names}


class BlockInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """One drive of `query-block`."""

    qdev: str = ""
    device: str = ""
    inserted: BlockDeviceInfo | None = None
    io_status: str = "ok"


class VcpuDirtyRate(msgspec.Struct, frozen=True, rename="kebab"):
    """How fast one vCPU writes, in MiB/s."""

    id: int
    dirty_rate: int


class DirtyRateInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """`query-dirty-rate`; times in s, the rate in MiB/s."""

    status: str = "unstarted"
    start_time: int = 0
    calc_time: int = 0
    dirty_rate: int | None = None
    mode: str | None = None
    vcpu_dirty_rate: list[VcpuDirtyRate] = []


class BalloonInfo(msgspec.Struct, frozen=True):
    """`query-balloon`."""

    actual: int = 0


class GuestStats(msgspec.Struct, frozen=True, rename="kebab"):
    """`guest-stats` of a balloon device (`qom-get`)."""

    stats: dict[str, int] = {}
    last_update: int = 0
