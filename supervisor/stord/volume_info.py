"""State of pools and volumes as a refresh reads it. Pure.

Owns: these structs, which cross from the pool's process to stord. `gc=False`: they hold no
references that could form cycles, so the thousands of a large pool need not be GC-tracked.
"""

from __future__ import annotations

import msgspec


class Extent(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A byte range of a device; the end is exclusive."""

    device: str
    start: int
    end: int


class Backing(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """The backing file of an image."""

    path: str
    format: str  # "raw" when the header names none
    mode: int = -1  # -1: unknown, as of the next two
    owner: int = -1
    group: int = -1
    label: str = ""
    times: tuple[int, ...] = ()  # as `VolumeInfo.times`


class VolumeInfo(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One volume; sizes in bytes."""

    name: str
    key: str
    path: str
    type: str = "file"  # as `conf.storage.VolumeType`: "file", "block", "dir", "network" …
    format: str = ""  # <format type=''/>; "": volumes of the pool have none
    capacity: int = 0
    allocation: int = 0
    physical: int = 0
    mode: int = -1  # -1: unknown, as of the next two
    owner: int = -1
    group: int = -1
    label: str = ""
    times: tuple[int, ...] = ()  # atime, mtime, ctime, btime if known: ns since the epoch
    extents: tuple[Extent, ...] = ()
    backing: Backing | None = None
    compat: str = ""  # of a qcow2
    features: tuple[str, ...] = ()
    cluster_size: int = 0
    encryption: str = ""  # "luks", "qcow"; "": none
    secret_uuid: str = ""  # from the XML that created the volume
    secret_usage: str = ""


class FreeExtent(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """An unallocated byte range of a device; the end is exclusive."""

    device: str
    start: int
    end: int


class PoolInfo(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Space and volumes of an active pool; sizes in bytes."""

    capacity: int = 0
    allocation: int = 0
    available: int = 0
    volumes: tuple[VolumeInfo, ...] = ()
    free: tuple[FreeExtent, ...] = ()
    source_format: str = ""  # detected, for "unknown" and "auto" in the definition


class NewVolume(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A volume that was just created, and what is left."""

    volume: VolumeInfo
    space: PoolInfo | None = None  # of the pool, without volumes; None: not read yet
