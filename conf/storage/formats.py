"""What each type of pool is made of: the parts of its <source>, its formats, those of its volumes.

Owns: that table; capabilities, reading and writing go by it. Pure.
Source: libvirt 9.0 formatstorage, and the capabilities that it gives of pools.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class PoolType(StrEnum):
    """The types of pools, in libvirt's order."""

    DIR = "dir"
    FS = "fs"
    NETFS = "netfs"
    LOGICAL = "logical"
    DISK = "disk"
    ISCSI = "iscsi"
    ISCSI_DIRECT = "iscsi-direct"
    SCSI = "scsi"
    MPATH = "mpath"
    RBD = "rbd"
    SHEEPDOG = "sheepdog"
    GLUSTER = "gluster"
    ZFS = "zfs"
    VSTORAGE = "vstorage"


class VolumeType(StrEnum):
    """What a volume is, in the order of virStorageVolType."""

    FILE = "file"
    BLOCK = "block"
    DIR = "dir"
    NETWORK = "network"
    NETDIR = "netdir"
    PLOOP = "ploop"


FILE_FORMATS: Final = (
    "none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop",
    "cow", "qcow", "qcow2", "qed", "vmdk",
)  # fmt: skip
FILE_SYSTEMS: Final = (
    "auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs",
    "ocfs2", "vmfs",
)  # fmt: skip
TABLES: Final = ("unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2")
PARTITIONS: Final = (
    "none", "linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Formats:
    """Names of formats, and the default."""

    default: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Traits:
    """What belongs to pools of one type."""

    parts: frozenset[str]  # of <source>: "host", "device", "dir", "adapter", "name", "initiator"
    needs: frozenset[str]  # of these parts, those without which no pool can be
    volumes: VolumeType  # what its volumes are
    formats: Formats | None = None  # of the pool itself
    volume_formats: Formats | None = None
    has_target: bool = True  # volumes are in the host's file system

    def knows(self, part: str) -> bool:
        """Return whether a part of <source> means something."""
        return part in self.parts


def _traits(
    parts: str,
    needs: str,
    volumes: VolumeType,
    formats: Formats | None = None,
    volume_formats: Formats | None = None,
    *,
    has_target: bool = True,
) -> Traits:
    return Traits(
        frozenset(parts.split()),
        frozenset(needs.split()),
        volumes,
        formats,
        volume_formats,
        has_target,
    )


_FILES: Final = Formats("raw", FILE_FORMATS)
_FILE, _BLOCK, _NETWORK = VolumeType.FILE, VolumeType.BLOCK, VolumeType.NETWORK

TRAITS: Final = {
    PoolType.DIR: _traits("", "", _FILE, None, _FILES),
    PoolType.FS: _traits("device", "device", _FILE, Formats("auto", FILE_SYSTEMS), _FILES),
    PoolType.NETFS: _traits(
        "host dir", "host dir", _FILE, Formats("auto", ("auto", "nfs", "glusterfs", "cifs")), _FILES
    ),
    PoolType.LOGICAL: _traits("name device", "", _BLOCK, Formats("lvm2", ("unknown", "lvm2"))),
    PoolType.DISK: _traits(
        "device", "device", _BLOCK, Formats("unknown", TABLES), Formats("none", PARTITIONS)
    ),
    PoolType.ISCSI: _traits("host device initiator", "host", _BLOCK),
    PoolType.ISCSI_DIRECT: _traits(
        "host device initiator", "host initiator", _NETWORK, has_target=False
    ),
    PoolType.SCSI: _traits("adapter", "adapter", _BLOCK),
    PoolType.MPATH: _traits("", "", _BLOCK),
    PoolType.RBD: _traits(
        "host name", "host", _NETWORK, None, Formats("raw", ()), has_target=False
    ),
    PoolType.SHEEPDOG: _traits("host name", "host", _NETWORK, has_target=False),
    PoolType.GLUSTER: _traits("host name dir", "host", _NETWORK, None, _FILES, has_target=False),
    PoolType.ZFS: _traits("name device", "", _BLOCK),
    PoolType.VSTORAGE: _traits("name", "", _FILE, None, _FILES),
}


def volume_type(pool: PoolType, volume_format: str | None) -> VolumeType:
    """Choose the type of a volume by the pool's type and the volume's format."""
    types = TRAITS[pool]
    if volume_format == "dir":
        return VolumeType.NETDIR if types.volumes is VolumeType.NETWORK else VolumeType.DIR
    if volume_format == "ploop" and types.volumes is VolumeType.FILE:
        return VolumeType.PLOOP
    return types.volumes
