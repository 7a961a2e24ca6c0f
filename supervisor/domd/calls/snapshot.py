"""Calls that make, revert to and delete snapshots.

Owns: one method per procedure, named as in the table. May touch: the registry; snapshots, through
`supervisor.domd.snapshots`.
Source: libvirt 9.0, virDomainSnapshotCreateXML, virDomainRevertToSnapshot, virDomainSnapshotDelete.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import (
    DomainSnapshotCreateFlags,
    DomainSnapshotDeleteFlags,
    DomainSnapshotRevertFlags,
)
from rpc.values import Domain as DomainId
from rpc.values import DomainSnapshot
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.snapshots.create import SnapshotCreator, SnapshotServices
from supervisor.domd.snapshots.delete import SnapshotDeleter
from supervisor.domd.snapshots.revert import SnapshotReverter

CREATE: Final = sum(DomainSnapshotCreateFlags)
DELETE: Final = sum(DomainSnapshotDeleteFlags)
REVERT: Final = sum(DomainSnapshotRevertFlags)


class SnapshotCalls:
    """The calls that change one driver's snapshots."""

    def __init__(self, registry: DomainRegistry, services: SnapshotServices) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._creator = SnapshotCreator(services)
        self._reverter = SnapshotReverter(services)
        self._deleter = SnapshotDeleter(services)

    async def domain_snapshot_create_xml(
        self, call: ClientCall, dom: DomainId, xml_desc: str, flags: int
    ) -> DomainSnapshot:
        """Make a snapshot, or redefine one."""
        self._errors.check_flags("SnapshotCreateXML", flags, CREATE)
        domain = self._registry.find(dom)
        snapshot = await self._creator.create(domain, xml_desc, flags)
        return DomainSnapshot(snapshot.name, domain.identity)

    async def domain_revert_to_snapshot(
        self, call: ClientCall, snap: DomainSnapshot, flags: int
    ) -> None:
        """Have a domain be again what it was when the snapshot was made."""
        self._errors.check_flags("SnapshotRevert", flags, REVERT)
        await self._reverter.revert(self._registry.find(snap.dom), snap.name, flags)

    async def domain_snapshot_delete(
        self, call: ClientCall, snap: DomainSnapshot, flags: int
    ) -> None:
        """Delete a snapshot; the domain stays as it is."""
        self._errors.check_flags("SnapshotDelete", flags, DELETE)
        await self._deleter.delete(self._registry.find(snap.dom), snap.name, flags)
