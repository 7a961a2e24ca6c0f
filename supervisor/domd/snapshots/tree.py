"""SnapshotTree: the snapshots of one domain, who is whose parent, and which one is current.

Owns: that; which snapshots a client's list has. Pure. May not touch: files.
Source: libvirt 9.0, virDomainMomentObjList and virDomainSnapshotObjList.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.errors import ConfError
from conf.snapshot.model import Snapshot, SnapshotState
from rpc.enums import DomainSnapshotListFlags as ListFlags

#: Filters of which a client gives one, or all: then the group says nothing.
GROUPS: Final = (
    ListFlags.LEAVES | ListFlags.NO_LEAVES,
    ListFlags.INACTIVE | ListFlags.ACTIVE | ListFlags.DISK_ONLY,
    ListFlags.INTERNAL | ListFlags.EXTERNAL,
)
METADATA: Final = ListFlags.METADATA | ListFlags.NO_METADATA


class SnapshotTree:
    """The snapshots of one domain."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._children: dict[str, list[str]] | None = None  # by parent; "" for none
        self.current: str | None = None

    def __len__(self) -> int:
        return len(self._snapshots)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(list(self._snapshots.values()))

    def get(self, name: str) -> Snapshot | None:
        """Return a snapshot; None: there is none of that name."""
        return self._snapshots.get(name)

    def put(self, snapshot: Snapshot) -> None:
        """Add a snapshot, or put another in its place."""
        self._snapshots[snapshot.name] = snapshot
        self._children = None

    def remove(self, name: str) -> None:
        """Remove a snapshot; its children have been given another parent, or are removed too."""
        del self._snapshots[name]
        self._children = None
        if self.current == name:
            self.current = None

    def clear(self) -> None:
        """Forget everything."""
        self._snapshots.clear()
        self._children, self.current = None, None

    def moved(self) -> None:
        """Have the relations found anew: a snapshot got another parent."""
        self._children = None

    # Relations.

    def parent(self, name: str) -> str | None:
        """Return a snapshot's parent; None: it is a root."""
        return next((parent for parent, below in self._tree().items() if name in below), "") or None

    def children(self, name: str) -> list[str]:
        """List the direct children of a snapshot, or ("") the roots."""
        return list(self._tree().get(name, ()))

    def descendants(self, name: str) -> list[str]:
        """List what is below a snapshot, or ("") everything: parents before their children."""
        found: list[str] = []
        waiting = self.children(name)[::-1]
        while waiting:
            found.append(waiting.pop())
            waiting += self.children(found[-1])[::-1]
        return found

    def ancestors(self, name: str) -> list[str]:
        """List a snapshot's parent, its parent, and so on to the root."""
        parents = {child: parent for parent, below in self._tree().items() for child in below}
        found: list[str] = []
        while parent := parents.get(name):
            found.append(parent)
            name = parent
        return found

    def _tree(self) -> dict[str, list[str]]:
        """Return the children of each snapshot; who lacks its parent, or is its own, is a root."""
        if self._children is None:
            self._children = {"": []}
            for snapshot in self._snapshots.values():
                parent = snapshot.parent or ""
                if parent not in self._snapshots or self._is_circular(snapshot):
                    parent = ""
                self._children.setdefault(parent, []).append(snapshot.name)
        return self._children

    def _is_circular(self, snapshot: Snapshot) -> bool:
        seen = {snapshot.name}
        at: Snapshot | None = snapshot
        while at is not None and at.parent:
            if at.parent in seen:
                return True
            seen.add(at.parent)
            at = self._snapshots.get(at.parent)
        return False

    def check_parent(self, snapshot: Snapshot, domain_name: str) -> None:
        """Refuse a redefined snapshot whose parent cannot be.

        Raises:
            ConfError: "invalid_arg".
        """
        parent = snapshot.parent
        if not parent:
            return
        if parent == snapshot.name:
            detail = f"cannot set moment {snapshot.name} as its own parent"
            raise ConfError("invalid_arg", detail)
        at = self.get(parent)
        if at is None:
            detail = f"parent {parent} for moment {snapshot.name} not found"
            raise ConfError("invalid_arg", detail)
        seen = {snapshot.name}
        while at is not None and at.parent:
            if at.parent == snapshot.name:
                detail = f"parent {parent} would create cycle to {snapshot.name}"
                raise ConfError("invalid_arg", detail)
            if at.parent in seen:
                return  # a circle that was there before
            seen.add(at.parent)
            at = self.get(at.parent)

    # Lists.

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
        names = self.descendants(below) if everything else self.children(below)
        found = (self._snapshots[name] for name in names)
        return [snapshot for snapshot in found if self._passes(snapshot, flags)]

    def _passes(self, snapshot: Snapshot, flags: int) -> bool:
        has_children = bool(self._tree().get(snapshot.name))
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
