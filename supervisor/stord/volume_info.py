"""What was found of a pool and its volumes: values that stord keeps in memory. Pure.

Owns: their shapes. They cross from a pool's own process to stord, so they are structs; a pool may
have very many, so the collector of garbage leaves them out: they hold nothing that could be a ring.
"""

from __future__ import annotations

import msgspec


class Extent(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A part of a device, in bytes; the end is not in it."""

    device: str
    start: int
    end: int


class Backing(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What an image lies on."""

    path: str
    format: str  # "raw" where the image does not say
    mode: int = -1  # -1: it is not known who owns it
    owner: int = 0
    group: int = 0
    label: str = ""
    times: tuple[int, ...] = ()  # as `VolumeInfo.times`


class VolumeInfo(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One volume as it is; sizes are bytes."""

    name: str
    key: str
    path: str
    type: str = "file"  # as `conf.storage.VolumeType`: "file", "block", "dir", "network" …
    format: str = ""  # as in <format type=''/>; "": the pool's volumes have none
    capacity: int = 0
    allocation: int = 0
    physical: int = 0
    mode: int = -1  # -1: it is not known who owns it
    owner: int = 0
    group: int = 0
    label: str = ""
    times: tuple[int, ...] = ()  # read, written, changed, made (if known): ns since the epoch
    extents: tuple[Extent, ...] = ()
    backing: Backing | None = None
    compat: str = ""  # of a qcow2
    features: tuple[str, ...] = ()
    cluster_size: int = 0
    encryption: str = ""  # "luks", "qcow"; "": none
    secret_uuid: str = ""  # of its passphrase, if the document by which it was made named one
    secret_usage: str = ""


class FreeExtent(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A part of a device that nobody uses, in bytes; the end is not in it."""

    device: str
    start: int
    end: int


class PoolInfo(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A pool that is active; sizes are bytes."""

    capacity: int = 0
    allocation: int = 0
    available: int = 0
    volumes: tuple[VolumeInfo, ...] = ()
    free: tuple[FreeExtent, ...] = ()
    source_format: str = ""  # what was found where the definition says "unknown" or "auto"
