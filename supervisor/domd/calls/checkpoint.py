"""Calls about checkpoints: they are made, deleted, listed and described.

Owns: one method per procedure, named as in the table. May touch: the registry; checkpoints, through
`supervisor.domd.checkpoints`.
Source: libvirt 9.0, virDomainCheckpointCreateXML and its siblings.
"""

from __future__ import annotations

import copy
from typing import Final

from conf.checkpoint.checkpoint_xml import format_checkpoint
from conf.checkpoint.model import Checkpoint
from rpc.enums import (
    DomainCheckpointCreateFlags,
    DomainCheckpointDeleteFlags,
    DomainCheckpointListFlags,
    DomainCheckpointXMLFlags,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from rpc.values import DomainCheckpoint
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.checkpoints.create import CheckpointCreator
from supervisor.domd.checkpoints.delete import CheckpointDeleter
from supervisor.domd.checkpoints.store import CheckpointStore
from supervisor.domd.checkpoints.tree import CheckpointTree
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.domd.workers import Workers
from supervisor.messages.checkpoint import MeasureCheckpoint
from supervisor.objects.job import JobKind

CREATE: Final = sum(DomainCheckpointCreateFlags)
DELETE: Final = sum(DomainCheckpointDeleteFlags)
FILTERS: Final = sum(DomainCheckpointListFlags)
XML: Final = sum(DomainCheckpointXMLFlags)


class CheckpointCalls:
    """The checkpoints of one driver's domains."""

    def __init__(
        self,
        registry: DomainRegistry,
        store: CheckpointStore,
        creator: CheckpointCreator,
        workers: Workers,
    ) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._store = store
        self._creator = creator
        self._workers = workers
        self._deleter = CheckpointDeleter(store, workers)

    async def domain_checkpoint_create_xml(
        self, call: ClientCall, dom: DomainId, xml_desc: str, flags: int
    ) -> DomainCheckpoint:
        """Make a checkpoint, or redefine one."""
        redefine, validate, quiesce = (
            DomainCheckpointCreateFlags.REDEFINE,
            DomainCheckpointCreateFlags.REDEFINE_VALIDATE,
            DomainCheckpointCreateFlags.QUIESCE,
        )
        if flags & validate and not flags & redefine:
            raise _refused_flags(
                f"Flag '{_flag(redefine)}' is required by flag '{_flag(validate)}'"
            )
        if flags & quiesce and flags & redefine:
            raise _refused_flags(
                f"Flags '{_flag(quiesce)}' and '{_flag(redefine)}' are mutually exclusive"
            )
        self._errors.check_flags("CheckpointCreateXML", flags, CREATE)
        domain = self._registry.find(dom)
        checkpoint = await self._creator.create(domain, xml_desc, flags)
        return DomainCheckpoint(checkpoint.name, domain.identity)

    async def domain_checkpoint_delete(
        self, call: ClientCall, checkpoint: DomainCheckpoint, flags: int
    ) -> None:
        """Delete a checkpoint."""
        first, second = (
            DomainCheckpointDeleteFlags.CHILDREN,
            DomainCheckpointDeleteFlags.CHILDREN_ONLY,
        )
        if flags & first and flags & second:
            prefix = "VIR_DOMAIN_CHECKPOINT_DELETE_"
            raise _refused_flags(
                f"Flags '{prefix}{first.name}' and '{prefix}{second.name}' are mutually exclusive"
            )
        self._errors.check_flags("CheckpointDelete", flags, DELETE)
        await self._deleter.delete(self._registry.find(checkpoint.dom), checkpoint.name, flags)

    # Queries.

    async def domain_list_all_checkpoints(
        self, call: ClientCall, dom: DomainId, need_results: int, flags: int
    ) -> tuple[list[DomainCheckpoint], int]:
        """Return the domain's checkpoints, and their number."""
        self._errors.check_flags("DomainListAllCheckpoints", flags, FILTERS)
        domain = self._registry.find(dom)
        found = (await self._store.tree(domain)).list(flags)
        return self._results(domain, found, need_results)

    async def domain_checkpoint_list_all_children(
        self, call: ClientCall, checkpoint: DomainCheckpoint, need_results: int, flags: int
    ) -> tuple[list[DomainCheckpoint], int]:
        """Return a checkpoint's children, or descendants, and their number."""
        self._errors.check_flags("DomainCheckpointListAllChildren", flags, FILTERS)
        domain, tree, parent = await self._find(checkpoint)
        return self._results(domain, tree.list(flags, parent.name), need_results)

    async def domain_checkpoint_lookup_by_name(
        self, call: ClientCall, dom: DomainId, name: str, flags: int
    ) -> DomainCheckpoint:
        """Look a checkpoint up.

        Raises:
            VirError: NO_DOMAIN_CHECKPOINT.
        """
        self._errors.check_flags("DomainCheckpointLookupByName", flags)
        domain = self._registry.find(dom)
        _, checkpoint = await self._store.find(domain, name)
        return DomainCheckpoint(checkpoint.name, domain.identity)

    async def domain_checkpoint_get_parent(
        self, call: ClientCall, checkpoint: DomainCheckpoint, flags: int
    ) -> DomainCheckpoint:
        """Return a checkpoint's parent.

        Raises:
            VirError: NO_DOMAIN_CHECKPOINT: it is a root.
        """
        self._errors.check_flags("DomainCheckpointGetParent", flags)
        domain, _, found = await self._find(checkpoint)
        if not found.parent:
            detail = f"checkpoint '{found.name}' does not have a parent"
            raise VirError(ErrorCode.NO_DOMAIN_CHECKPOINT, detail, self._errors.domain)
        return DomainCheckpoint(found.parent, domain.identity)

    async def domain_checkpoint_get_xml_desc(
        self, call: ClientCall, checkpoint: DomainCheckpoint, flags: int
    ) -> str:
        """Return a checkpoint's XML, with the bytes written since for SIZE."""
        self._errors.check_flags("CheckpointGetXMLDesc", flags, XML)
        domain, _, found = await self._find(checkpoint)
        if flags & DomainCheckpointXMLFlags.SIZE:
            found = await self._measured(domain, found)
        return format_checkpoint(
            found,
            secure=bool(flags & DomainCheckpointXMLFlags.SECURE),
            domain=not flags & DomainCheckpointXMLFlags.NO_DOMAIN,
        )

    async def _measured(self, domain: DomainObject, found: Checkpoint) -> Checkpoint:
        async with domain.jobs.hold("remoteDispatchDomainCheckpointGetXMLDesc", JobKind.QUERY):
            if not domain.is_active:
                raise not_running(domain)
            request = MeasureCheckpoint(name=found.name, disks=found.noted)
            sizes = await self._workers.call_running(domain, request)
        shown = copy.copy(found)
        shown.disks = [copy.copy(disk) for disk in found.disks]
        for disk in shown.disks:
            disk.size = sizes.get(disk.name)
        return shown

    async def _find(
        self, checkpoint: DomainCheckpoint
    ) -> tuple[DomainObject, CheckpointTree, Checkpoint]:
        domain = self._registry.find(checkpoint.dom)
        tree, found = await self._store.find(domain, checkpoint.name)
        return domain, tree, found

    @staticmethod
    def _results(
        domain: DomainObject, found: list[Checkpoint], need_results: int
    ) -> tuple[list[DomainCheckpoint], int]:
        if not need_results:
            return [], len(found)
        return [DomainCheckpoint(one.name, domain.identity) for one in found], len(found)


def _flag(flag: DomainCheckpointCreateFlags) -> str:
    return f"VIR_DOMAIN_CHECKPOINT_CREATE_{flag.name}"


def _refused_flags(detail: str) -> VirError:
    return VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN_CHECKPOINT)
