"""The kinds of pools that this daemon has.

Owns: that table. A new kind is one line here.
"""

from __future__ import annotations

from typing import Final

from conf.storage import PoolType
from supervisor.stord.backends.base import Kind
from supervisor.stord.backends.directory import Folder
from supervisor.stord.backends.disk import Disk
from supervisor.stord.backends.filesystem import Mounted, find_exports
from supervisor.stord.backends.iscsi import Iscsi, find_targets
from supervisor.stord.backends.logical import Logical, find_groups
from supervisor.stord.backends.unsupported import Missing

KINDS: Final[dict[PoolType, Kind]] = {
    PoolType.DIR: Kind(Folder, in_session=True),
    PoolType.FS: Kind(Mounted, needs=("mount", "umount")),
    PoolType.NETFS: Kind(Mounted, find_exports, needs=("mount", "umount")),
    PoolType.LOGICAL: Kind(Logical, find_groups, needs=("vgs", "lvs", "lvcreate")),
    PoolType.DISK: Kind(Disk, needs=("parted",)),
    PoolType.ISCSI: Kind(Iscsi, find_targets, needs=("iscsiadm",)),
}
#: What can be defined, so that a host's definitions are kept, and is refused when it is started.
DEFINED_ONLY: Final[dict[PoolType, Kind]] = {
    kind: Kind(Missing, in_session=True) for kind in PoolType if kind not in KINDS
}
