"""SnapshotTree: the snapshots of one domain, and which of them a client's list has. Pure.

Owns: that. May not touch: files.
Source: libvirt 9.0, virDomainSnapshotObjList.
"""

from __future__ import annotations

from typing import Final

from conf.snapshot.model import Snapshot, SnapshotState
from rpc.enums import DomainSnapshotListFlags as ListFlags
from supervisor.domd.moments.tree import MomentTree
from supervisor.domd.readahead import Readahead

#: Filters of which a client gives one, or all: then the group says nothing.
GROUPS: Final = (
    ListFlags.LEAVES | ListFlags.NO_LEAVES,
    ListFlags.INACTIVE | ListFlags.ACTIVE | ListFlags.DISK_ONLY,
    ListFlags.INTERNAL | ListFlags.EXTERNAL,
)
METADATA: Final = ListFlags.METADATA | ListFlags.NO_METADATA


class SnapshotTree(MomentTree[Snapshot]):
    """The snapshots of one domain."""

    def __init__(self) -> None:
        super().__init__()
        self.readahead: Readahead[Snapshot] = Readahead(self, lambda snapshot: snapshot.name)

    def list(self, flags: int, below: str = "") -> list[Snapshot]:
        """List snapshots as a client asks for them, parents before children.

        Args:
            flags: virDomainSnapshotListFlags.
            below: the snapshot whose children are asked for; "": those of the domain.
        """
        for group in GROUPS:
            if flags & group == group:
                flags &= ~group
        if flags & METADATA == ListFlags.NO_METADATA:
            return []  # QEMU's snapshots without metadata are not known
        # ROOTS and DESCENDANTS are one bit: it narrows the domain's list, and widens a snapshot's.
        everything = bool(flags & ListFlags.DESCENDANTS) == bool(below)
        found = self.select(deep=everything, below=below)
        return [snapshot for snapshot in found if self._passes(snapshot, flags)]

    def _passes(self, snapshot: Snapshot, flags: int) -> bool:
        has_children = self.has_children(snapshot.name)
        if flags & (ListFlags.NO_LEAVES if not has_children else ListFlags.LEAVES):
            return False
        statuses = flags & (ListFlags.INACTIVE | ListFlags.ACTIVE | ListFlags.DISK_ONLY)
        if statuses and not statuses & _status(snapshot):
            return False
        unwanted = ListFlags.INTERNAL if snapshot.is_external else ListFlags.EXTERNAL
        return not flags & unwanted


def _status(snapshot: Snapshot) -> int:
    match snapshot.kind:
        case SnapshotState.SHUTOFF:
            return ListFlags.INACTIVE
        case SnapshotState.DISK_SNAPSHOT:
            return ListFlags.DISK_ONLY
    return ListFlags.ACTIVE
