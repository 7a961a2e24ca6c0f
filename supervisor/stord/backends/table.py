"""Table of storage backends by pool type.

Owns: that table; a new backend is one row.
"""

from __future__ import annotations

from typing import Final

from conf.storage import PoolType
from supervisor.stord.backends.base import BackendType
from supervisor.stord.backends.directory import DirectoryBackend
from supervisor.stord.backends.disk import DiskBackend
from supervisor.stord.backends.filesystem import FilesystemBackend, find_exports
from supervisor.stord.backends.iscsi import IscsiBackend, find_targets
from supervisor.stord.backends.logical import LogicalBackend, find_groups
from supervisor.stord.backends.unsupported import UnsupportedBackend

BACKENDS: Final[dict[PoolType, BackendType]] = {
    PoolType.DIR: BackendType(DirectoryBackend, in_session=True),
    PoolType.FS: BackendType(FilesystemBackend, programs=("mount", "umount")),
    PoolType.NETFS: BackendType(FilesystemBackend, find_exports, programs=("mount", "umount")),
    PoolType.LOGICAL: BackendType(LogicalBackend, find_groups, programs=("vgs", "lvs", "lvcreate")),
    PoolType.DISK: BackendType(DiskBackend, programs=("parted",)),
    PoolType.ISCSI: BackendType(IscsiBackend, find_targets, programs=("iscsiadm",)),
}
#: Types that can be defined, so that a host's definitions are kept, but not started. ZFS is not
#: among them: Debian packages it separately, and libvirt without it defines no such pool.
DEFINED_ONLY: Final[dict[PoolType, BackendType]] = {
    kind: BackendType(UnsupportedBackend, in_session=True)
    for kind in PoolType
    if kind not in BACKENDS and kind is not PoolType.ZFS
}
