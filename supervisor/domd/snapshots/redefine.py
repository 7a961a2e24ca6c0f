"""Redefining a snapshot: what must stay as it was. Pure.

Owns: these checks. May not touch: files.
Source: libvirt 9.0, virDomainSnapshotRedefinePrep.
"""

from __future__ import annotations

from conf.domain import Domain
from conf.errors import ConfError
from conf.snapshot.align import align_disks
from conf.snapshot.model import Snapshot, SnapshotLocation, SnapshotState
from conf.snapshot.snapshot_xml import domain_of
from rpc.enums import DomainSnapshotCreateFlags as CreateFlags
from supervisor.domd.snapshots.tree import SnapshotTree

#: The states that a snapshot of a QEMU guest can have.
STATES = (
    SnapshotState.RUNNING,
    SnapshotState.PAUSED,
    SnapshotState.SHUTDOWN,
    SnapshotState.SHUTOFF,
    SnapshotState.CRASHED,
    SnapshotState.DISK_SNAPSHOT,
)


def check_state(state: SnapshotState) -> None:
    """Refuse a state that no snapshot of a QEMU guest has.

    Raises:
        ConfError: "operation_unsupported", "internal".
    """
    if state is SnapshotState.PMSUSPENDED:
        detail = "qemu doesn't support taking snapshots of PMSUSPENDED guests"
        raise ConfError("operation_unsupported", detail)
    if state not in STATES:
        raise ConfError("internal", f"Invalid domain state {state}")


def check_redefined(tree: SnapshotTree, snapshot: Snapshot, *, uuid: str, flags: int) -> None:
    """Check a redefined snapshot against the one that there is, and complete its disks.

    Raises:
        ConfError: "invalid_arg", "config_unsupported", "internal".
    """
    tree.check_parent(snapshot)
    other = tree.get(snapshot.name)
    is_disk_only = snapshot.kind is SnapshotState.DISK_SNAPSHOT
    if flags & CreateFlags.DISK_ONLY and not is_disk_only:
        detail = f"disk-only flag for snapshot {snapshot.name} requires disk-snapshot state"
        raise ConfError("invalid_arg", detail)
    if snapshot.domain is not None and snapshot.domain.model.uuid != uuid:
        detail = f"definition for snapshot {snapshot.name} must use uuid {uuid}"
        raise ConfError("invalid_arg", detail)
    existing: Domain | None = None
    if other is not None:
        _check_same_kind(snapshot, other)
        existing = other.domain.model if other.domain is not None else None
    external = is_disk_only or snapshot.is_external
    default = SnapshotLocation.EXTERNAL if external else SnapshotLocation.INTERNAL
    domain = snapshot.domain.model if snapshot.domain is not None else existing
    align_disks(snapshot, domain or domain_of(snapshot), default, uniform=True)


def _check_same_kind(snapshot: Snapshot, other: Snapshot) -> None:
    if snapshot.kind.is_online != other.kind.is_online:
        detail = (
            f"cannot change between online and offline snapshot state in snapshot {snapshot.name}"
        )
        raise ConfError("invalid_arg", detail)
    disk_only = SnapshotState.DISK_SNAPSHOT
    if (snapshot.kind is disk_only) != (other.kind is disk_only):
        detail = f"cannot change between disk only and full system in snapshot {snapshot.name}"
        raise ConfError("invalid_arg", detail)
