"""Queries of snapshots, checkpoints and backups of domains that have none.

Owns: one method per procedure, named as in the table. May touch: the registry; metadata files, to
see whether there are any.
Source: libvirt 9.0, virDomainSnapshotNum, virDomainListAllCheckpoints and their siblings.

Clients list snapshots before they do anything else with a domain (virt-manager, virt-clone,
libvirt-dbus), and stop at an error.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainCheckpointListFlags, DomainSnapshotListFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from rpc.values import DomainCheckpoint, DomainSnapshot
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.domain import DomainObject
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.registry import DomainRegistry

SNAPSHOT_FILTERS: Final = sum(DomainSnapshotListFlags)
CHECKPOINT_FILTERS: Final = sum(DomainCheckpointListFlags)


class SnapshotCalls:
    """The queries; a domain with metadata of a stock daemon's is refused, not called empty."""

    def __init__(self, registry: DomainRegistry, files: DomainFiles) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._files = files

    # Snapshots.

    def domain_snapshot_num(self, call: ClientCall, dom: DomainId, flags: int) -> int:
        """Return 0, the number of the domain's snapshots."""
        self._errors.check_flags("DomainSnapshotNum", flags, SNAPSHOT_FILTERS)
        self._find(dom)
        return 0

    def domain_snapshot_list_names(
        self, call: ClientCall, dom: DomainId, maxnames: int, flags: int
    ) -> list[str]:
        """Return no names."""
        self._errors.check_flags("DomainSnapshotListNames", flags, SNAPSHOT_FILTERS)
        self._find(dom)
        return []

    def domain_list_all_snapshots(
        self, call: ClientCall, dom: DomainId, need_results: int, flags: int
    ) -> tuple[list[DomainSnapshot], int]:
        """Return no snapshots."""
        self._errors.check_flags("DomainListAllSnapshots", flags, SNAPSHOT_FILTERS)
        self._find(dom)
        return [], 0

    def domain_snapshot_lookup_by_name(
        self, call: ClientCall, dom: DomainId, name: str, flags: int
    ) -> DomainSnapshot:
        """Refuse the lookup of a snapshot.

        Raises:
            VirError: NO_DOMAIN_SNAPSHOT.
        """
        self._errors.check_flags("DomainSnapshotLookupByName", flags)
        self._find(dom)
        detail = f"no domain snapshot with matching name '{name}'"
        raise VirError(ErrorCode.NO_DOMAIN_SNAPSHOT, detail, self._errors.domain)

    def domain_has_current_snapshot(self, call: ClientCall, dom: DomainId, flags: int) -> int:
        """Return 0: the domain has no current snapshot."""
        self._errors.check_flags("DomainHasCurrentSnapshot", flags)
        self._find(dom)
        return 0

    def domain_snapshot_current(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> DomainSnapshot:
        """Refuse to return the current snapshot.

        Raises:
            VirError: NO_DOMAIN_SNAPSHOT.
        """
        self._errors.check_flags("DomainSnapshotCurrent", flags)
        self._find(dom)
        detail = "the domain does not have a current snapshot"
        raise VirError(ErrorCode.NO_DOMAIN_SNAPSHOT, detail, self._errors.domain)

    # Checkpoints and backups.

    def domain_list_all_checkpoints(
        self, call: ClientCall, dom: DomainId, need_results: int, flags: int
    ) -> tuple[list[DomainCheckpoint], int]:
        """Return no checkpoints."""
        self._errors.check_flags("DomainListAllCheckpoints", flags, CHECKPOINT_FILTERS)
        self._find(dom)
        return [], 0

    def domain_checkpoint_lookup_by_name(
        self, call: ClientCall, dom: DomainId, name: str, flags: int
    ) -> DomainCheckpoint:
        """Refuse the lookup of a checkpoint.

        Raises:
            VirError: NO_DOMAIN_CHECKPOINT.
        """
        self._errors.check_flags("DomainCheckpointLookupByName", flags)
        self._find(dom)
        detail = f"no domain checkpoint with matching name '{name}'"
        raise VirError(ErrorCode.NO_DOMAIN_CHECKPOINT, detail, self._errors.domain)

    def domain_backup_get_xml_desc(self, call: ClientCall, dom: DomainId, flags: int) -> str:
        """Refuse to describe a backup.

        Raises:
            VirError: NO_DOMAIN_BACKUP: none runs.
        """
        self._errors.check_flags("DomainBackupGetXMLDesc", flags)
        self._registry.find(dom)
        detail = "no domain backup job present"
        raise VirError(ErrorCode.NO_DOMAIN_BACKUP, detail, ErrorDomain.QEMU)

    def _find(self, dom: DomainId) -> DomainObject:
        """Find a domain without snapshots and checkpoints.

        Raises:
            VirError: NO_DOMAIN; OPERATION_UNSUPPORTED: a stock daemon has left metadata of some.
        """
        domain = self._registry.find(dom)
        if self._files.has_snapshots(domain) or self._files.has_checkpoints(domain):
            raise self._errors.operation_unsupported(
                f"domain '{domain.name}' has snapshots or checkpoints, which this daemon does not "
                "read yet; qemu-img snapshot -l lists internal ones"
            )
        return domain
