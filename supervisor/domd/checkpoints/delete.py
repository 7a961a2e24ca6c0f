"""CheckpointDeleter: deletes checkpoints, with their bitmaps or what the daemon knows of them.

Owns: the order of that. May touch: guests, through their workers; the checkpoints' files, through
the store.
Source: libvirt 9.0, qemuCheckpointDelete.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainCheckpointDeleteFlags as DeleteFlags
from supervisor.domd.checkpoints.create import is_refusal
from supervisor.domd.checkpoints.store import CheckpointStore
from supervisor.domd.checkpoints.tree import CheckpointTree
from supervisor.domd.domain import DomainObject
from supervisor.domd.workers import Workers
from supervisor.messages.checkpoint import DeleteCheckpoint
from supervisor.objects.job import JobKind

CALL: Final = "remoteDispatchDomainCheckpointDelete"
WITH_CHILDREN: Final = DeleteFlags.CHILDREN | DeleteFlags.CHILDREN_ONLY


class CheckpointDeleter:
    """Deletes the checkpoints of one driver's domains."""

    def __init__(self, store: CheckpointStore, workers: Workers) -> None:
        self._store = store
        self._workers = workers

    async def delete(self, domain: DomainObject, name: str, flags: int) -> None:
        """Delete a checkpoint, with what is below it or that alone if the flags say so.

        Where one of several cannot be deleted, those below it are.

        Raises:
            VirError: NO_DOMAIN_CHECKPOINT; OPERATION_UNSUPPORTED: the domain is off;
                INTERNAL_ERROR: a bitmap is not there; QEMU's.
        """
        metadata_only = bool(flags & DeleteFlags.METADATA_ONLY)
        async with domain.jobs.hold(CALL, JobKind.MODIFY):
            if not metadata_only and not domain.is_active:
                detail = "cannot delete checkpoint for inactive domain"
                raise domain.errors.operation_unsupported(detail)
            tree, _ = await self._store.find(domain, name)
            doomed = tree.descendants(name)[::-1] if flags & WITH_CHILDREN else []
            if not flags & DeleteFlags.CHILDREN_ONLY:
                doomed.append(name)
            for each in doomed:
                await self._delete(domain, tree, each, metadata_only=metadata_only)

    async def _delete(
        self, domain: DomainObject, tree: CheckpointTree, name: str, *, metadata_only: bool
    ) -> None:
        checkpoint = tree.get(name)
        if checkpoint is None:
            return
        if not metadata_only:
            await self._store.begin_delete(domain, name)
            try:
                request = DeleteCheckpoint(name=name, disks=checkpoint.noted)
                await self._workers.call_running(domain, request)
            except BaseException as error:
                if is_refusal(error):
                    await self._store.cancel_delete(domain, name)
                else:
                    self._store.forget(domain)
                raise
        await self._store.finish_delete(domain, name)
