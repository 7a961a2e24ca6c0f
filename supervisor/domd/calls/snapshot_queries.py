"""Queries of snapshots: lists, relations, descriptions.

Owns: one method per procedure, named as in the table. All replies are cacheable: the tree tells
rpcd of each of its changes. May touch: the registry; the snapshots'
files, through `supervisor.domd.snapshots.store`.
Source: libvirt 9.0, virDomainSnapshotNum, virDomainListAllSnapshots and their siblings.
"""

from __future__ import annotations

from typing import Final

from conf.snapshot.model import Snapshot
from conf.snapshot.snapshot_xml import format_snapshot
from rpc.enums import DomainSnapshotListFlags, DomainSnapshotXMLFlags
from rpc.errors import ErrorCode, VirError
from rpc.values import Domain as DomainId
from rpc.values import DomainSnapshot
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.snapshots.store import SnapshotStore
from supervisor.domd.snapshots.tree import SnapshotTree

MAX_AHEAD: Final = 64 * 1024  # characters of XML that are formatted for one reply
FILTERS: Final = sum(DomainSnapshotListFlags)


class SnapshotQueries:
    """The queries of one driver's snapshots."""

    def __init__(self, registry: DomainRegistry, store: SnapshotStore) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._store = store

    # Lists of a domain.

    async def domain_snapshot_num(self, call: ClientCall, dom: DomainId, flags: int) -> int:
        """Return the number of the domain's snapshots that the filters let through."""
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotNum", flags, FILTERS)
        return len((await self._store.tree(self._registry.find(dom))).list(flags))

    async def domain_snapshot_list_names(
        self, call: ClientCall, dom: DomainId, maxnames: int, flags: int
    ) -> list[str]:
        """Return at most `maxnames` names."""
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotListNames", flags, FILTERS)
        tree = await self._store.tree(self._registry.find(dom))
        return [snapshot.name for snapshot in tree.list(flags)][: max(maxnames, 0)]

    async def domain_list_all_snapshots(
        self, call: ClientCall, dom: DomainId, need_results: int, flags: int
    ) -> tuple[list[DomainSnapshot], int]:
        """Return the domain's snapshots, and their number."""
        call.cacheable = True
        self._errors.check_flags("DomainListAllSnapshots", flags, FILTERS)
        domain = self._registry.find(dom)
        found = (await self._store.tree(domain)).list(flags)
        return self._results(domain, found, need_results)

    # Lists of what is below a snapshot.

    async def domain_snapshot_num_children(
        self, call: ClientCall, snap: DomainSnapshot, flags: int
    ) -> int:
        """Return the number of a snapshot's children, or descendants."""
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotNumChildren", flags, FILTERS)
        _, tree, snapshot = await self._find(snap)
        return len(tree.list(flags, snapshot.name))

    async def domain_snapshot_list_children_names(
        self, call: ClientCall, snap: DomainSnapshot, maxnames: int, flags: int
    ) -> list[str]:
        """Return at most `maxnames` names of children, or descendants."""
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotListChildrenNames", flags, FILTERS)
        _, tree, snapshot = await self._find(snap)
        return [one.name for one in tree.list(flags, snapshot.name)][: max(maxnames, 0)]

    async def domain_snapshot_list_all_children(
        self, call: ClientCall, snapshot: DomainSnapshot, need_results: int, flags: int
    ) -> tuple[list[DomainSnapshot], int]:
        """Return a snapshot's children, or descendants, and their number."""
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotListAllChildren", flags, FILTERS)
        domain, tree, parent = await self._find(snapshot)
        return self._results(domain, tree.list(flags, parent.name), need_results)

    # One snapshot.

    async def domain_snapshot_lookup_by_name(
        self, call: ClientCall, dom: DomainId, name: str, flags: int
    ) -> DomainSnapshot:
        """Look a snapshot up.

        Raises:
            VirError: NO_DOMAIN_SNAPSHOT.
        """
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotLookupByName", flags)
        domain = self._registry.find(dom)
        _, snapshot = await self._store.find(domain, name)
        return DomainSnapshot(snapshot.name, domain.identity)

    async def domain_has_current_snapshot(self, call: ClientCall, dom: DomainId, flags: int) -> int:
        """Return whether the domain has a current snapshot."""
        call.cacheable = True
        self._errors.check_flags("DomainHasCurrentSnapshot", flags)
        return int((await self._store.tree(self._registry.find(dom))).current is not None)

    async def domain_snapshot_current(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> DomainSnapshot:
        """Return the current snapshot.

        Raises:
            VirError: NO_DOMAIN_SNAPSHOT: there is none.
        """
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotCurrent", flags)
        domain = self._registry.find(dom)
        current = (await self._store.tree(domain)).current
        if current is None:
            detail = "the domain does not have a current snapshot"
            raise VirError(ErrorCode.NO_DOMAIN_SNAPSHOT, detail, self._errors.domain)
        return DomainSnapshot(current, domain.identity)

    async def domain_snapshot_get_parent(
        self, call: ClientCall, snap: DomainSnapshot, flags: int
    ) -> DomainSnapshot:
        """Return a snapshot's parent.

        Raises:
            VirError: NO_DOMAIN_SNAPSHOT: it is a root.
        """
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotGetParent", flags)
        domain, _, snapshot = await self._find(snap)
        if not snapshot.parent:
            detail = f"snapshot '{snapshot.name}' does not have a parent"
            raise VirError(ErrorCode.NO_DOMAIN_SNAPSHOT, detail, self._errors.domain)
        return DomainSnapshot(snapshot.parent, domain.identity)

    async def domain_snapshot_is_current(
        self, call: ClientCall, snap: DomainSnapshot, flags: int
    ) -> int:
        """Return whether a snapshot is the current one."""
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotIsCurrent", flags)
        _, tree, snapshot = await self._find(snap)
        return int(tree.current == snapshot.name)

    async def domain_snapshot_has_metadata(
        self, call: ClientCall, snap: DomainSnapshot, flags: int
    ) -> int:
        """Return 1: a snapshot that can be found has metadata."""
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotHasMetadata", flags)
        await self._find(snap)
        return 1

    async def domain_snapshot_get_xml_desc(
        self, call: ClientCall, snap: DomainSnapshot, flags: int
    ) -> str:
        """Return a snapshot's XML; with passwords for SECURE."""
        secure = DomainSnapshotXMLFlags.SECURE
        call.cacheable = True
        self._errors.check_flags("DomainSnapshotGetXMLDesc", flags, secure)
        domain, tree, snapshot = await self._find(snap)
        asked = _describe(domain, snapshot, flags)
        left = MAX_AHEAD - len(asked)
        for other in tree.readahead.after(snapshot):
            if left < 0:
                break
            xml = _describe(domain, other, flags)
            left -= len(xml)
            call.readahead.append(((DomainSnapshot(other.name, domain.identity), flags), xml))
        return asked

    async def _find(self, snap: DomainSnapshot) -> tuple[DomainObject, SnapshotTree, Snapshot]:
        domain = self._registry.find(snap.dom)
        tree, snapshot = await self._store.find(domain, snap.name)
        return domain, tree, snapshot

    @staticmethod
    def _results(
        domain: DomainObject, found: list[Snapshot], need_results: int
    ) -> tuple[list[DomainSnapshot], int]:
        if not need_results:
            return [], len(found)
        return [DomainSnapshot(one.name, domain.identity) for one in found], len(found)


def _describe(domain: DomainObject, snapshot: Snapshot, flags: int) -> str:
    """Return a snapshot's XML (flags: virDomainSnapshotXMLFlags)."""
    secure = bool(flags & DomainSnapshotXMLFlags.SECURE)
    return format_snapshot(snapshot, uuid=domain.uuid_text, secure=secure)
