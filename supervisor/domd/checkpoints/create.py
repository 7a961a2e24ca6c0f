"""CheckpointCreator: makes and redefines checkpoints of domains.

Owns: the order of that: check, write down, have QEMU do it, write the record. May touch: guests,
through their workers; the checkpoints' files, through the store.
Source: libvirt 9.0, qemuCheckpointCreateXML, virDomainCheckpointRedefinePrep.

A backup makes a checkpoint in its own transaction: it calls `parse` and `prepare`, and has its
worker add `checkpoint_actions` (`supervisor.workers.qemu.block.bitmaps`) inside `making`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

from conf.checkpoint.align import align_disks, check_new, name_bitmaps
from conf.checkpoint.checkpoint_xml import parse_checkpoint
from conf.checkpoint.model import Checkpoint
from conf.domain import format_domain, parse_domain
from conf.errors import ConfError
from conf.moment.nested_domain import NestedDomain
from ipc import BusError
from rpc.enums import DomainCheckpointCreateFlags as CreateFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.schema import require_valid
from supervisor.domd.checkpoints.store import CheckpointStore
from supervisor.domd.checkpoints.tree import CheckpointTree
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import not_running
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.workers import Workers
from supervisor.messages.checkpoint import CreateCheckpoint, FindCheckpoint
from supervisor.objects.job import JobKind

CALL: Final = "remoteDispatchDomainCheckpointCreateXML"
SCHEMA: Final = "domaincheckpoint.rng"

log = logging.getLogger(__name__)


class CheckpointCreator:
    """Makes the checkpoints of one driver's domains."""

    def __init__(
        self,
        store: CheckpointStore,
        builder: DefinitionBuilder,
        domains: RunningDomains,
        workers: Workers,
    ) -> None:
        self._store = store
        self._builder = builder
        self._domains = domains
        self._workers = workers

    async def create(self, domain: DomainObject, xml: str, flags: int) -> Checkpoint:
        """Make a checkpoint, or redefine one.

        Raises:
            VirError: it cannot be made; nothing has changed.
        """
        redefine = bool(flags & CreateFlags.REDEFINE)
        if not domain.is_active and flags & CreateFlags.QUIESCE:
            raise domain.errors.invalid_arg("only a running guest's file systems can be quiesced")
        if not redefine and not domain.is_active:
            detail = "cannot create checkpoint for inactive domain"
            raise domain.errors.operation_unsupported(detail)
        checkpoint = await self.parse(xml, redefine=redefine)
        async with domain.jobs.hold(CALL, JobKind.MODIFY):
            if redefine:
                return await self._redefine(domain, checkpoint, flags)
            await self.prepare(domain, checkpoint)
            async with self.making(domain, checkpoint):
                request = CreateCheckpoint(
                    name=checkpoint.name,
                    disks=checkpoint.noted,
                    quiesce=bool(flags & CreateFlags.QUIESCE),
                )
                await self._workers.call_running(domain, request)
        return checkpoint

    async def parse(self, xml: str, *, redefine: bool = False) -> Checkpoint:
        """Read a client's checkpoint; a new one gets its time, and a name if it has none.

        Raises:
            VirError: it is none.
        """
        await require_valid(xml, SCHEMA, Checkpoint, 1)
        with checkpoint_errors():
            checkpoint = parse_checkpoint(xml, redefine=redefine)
        if not redefine:
            checkpoint.creation_time = int(time.time())
            checkpoint.name = checkpoint.name or str(checkpoint.creation_time)
        return checkpoint

    async def prepare(self, domain: DomainObject, checkpoint: Checkpoint) -> None:
        """Complete a new checkpoint of a running domain, and check it; the caller holds a job.

        Raises:
            VirError: CONFIG_UNSUPPORTED, OPERATION_UNSUPPORTED: a disk cannot have one;
                OPERATION_FAILED: there is one of the name; OPERATION_INVALID: the domain is off.
        """
        if not domain.is_active:
            raise not_running(domain)
        await self._domains.follow_disks(domain)
        tree = await self._store.tree(domain)
        model = parse_domain(format_domain(domain.current.startable, secure=True))
        checkpoint.domain = NestedDomain.of(model)
        with checkpoint_errors():
            align_disks(checkpoint, model)
        with checkpoint_errors(domain.errors.domain):
            check_new(checkpoint, model)
        checkpoint.parent = tree.current
        if tree.get(checkpoint.name) is not None:
            detail = f"domain moment {checkpoint.name} already exists"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.DOMAIN)

    @contextlib.asynccontextmanager
    async def making(self, domain: DomainObject, checkpoint: Checkpoint) -> AsyncIterator[None]:
        """Have a checkpoint be there once the body has had QEMU make it, and not otherwise.

        If the body's worker dies, whether it is made is found out when the checkpoints are needed
        next.

        Raises:
            VirError: INTERNAL_ERROR: a disk error; what the body raises.
        """
        await self._store.begin_create(domain, checkpoint)
        try:
            yield
        except BaseException as error:
            if is_refusal(error):
                await self._store.cancel_create(domain, checkpoint.name)
            else:
                self._store.forget(domain)
            raise
        try:
            await self._store.finish_create(domain, checkpoint)
        except BaseException:
            self._store.forget(domain)
            raise

    async def _redefine(
        self, domain: DomainObject, checkpoint: Checkpoint, flags: int
    ) -> Checkpoint:
        tree = await self._store.tree(domain)
        if checkpoint.domain is not None:
            completed = await self._builder.complete_only(checkpoint.domain.copy())
            checkpoint.domain = NestedDomain.of(completed)
        redefine(tree, checkpoint, uuid=domain.uuid_text)
        if flags & CreateFlags.REDEFINE_VALIDATE:
            await self._validate(domain, checkpoint)
        is_current = tree.current is None or tree.current == checkpoint.parent
        tree.put(checkpoint)
        if is_current:
            tree.current = checkpoint.name
        try:
            await self._store.save(domain, [checkpoint])
        except BaseException:
            self._store.forget(domain)
            raise
        return checkpoint

    async def _validate(self, domain: DomainObject, checkpoint: Checkpoint) -> None:
        """Refuse a checkpoint whose bitmaps the guest has not.

        Raises:
            VirError: OPERATION_INVALID: the domain is off; CHECKPOINT_INCONSISTENT.
        """
        request = FindCheckpoint(name=checkpoint.name, disks=checkpoint.noted)
        for state in await self._workers.call_running(domain, request):
            if not state.is_valid:
                detail = f"missing or broken bitmap '{checkpoint.name}' for disk '{state.disk}'"
                raise domain.errors.error(ErrorCode.CHECKPOINT_INCONSISTENT, detail)


def redefine(tree: CheckpointTree, checkpoint: Checkpoint, *, uuid: str) -> None:
    """Check a redefined checkpoint against those that there are, and complete it. Pure.

    Raises:
        VirError: INVALID_ARG, CONFIG_UNSUPPORTED.
    """
    with checkpoint_errors(ErrorDomain.DOMAIN):
        tree.check_parent(checkpoint)
    if checkpoint.domain is None:
        name_bitmaps(checkpoint)
        other = tree.get(checkpoint.name)
        checkpoint.domain = other.domain if other is not None else None
        return
    model = checkpoint.domain.model
    with checkpoint_errors():
        if model.uuid != uuid:
            detail = f"definition for checkpoint {checkpoint.name} must use uuid {uuid}"
            raise ConfError("invalid_arg", detail)
        align_disks(checkpoint, model)


def is_refusal(error: BaseException) -> bool:
    """Return whether an error says that QEMU has not done what it was asked.

    Where no reply came, QEMU may have done it.
    """
    if not isinstance(error, VirError) or isinstance(error.__cause__, BusError):
        return False
    return error.code is not ErrorCode.OPERATION_TIMEOUT


@contextlib.contextmanager
def checkpoint_errors(domain: ErrorDomain = ErrorDomain.DOMAIN_CHECKPOINT) -> Iterator[None]:
    """Give refusals of `conf` an error domain.

    Raises:
        VirError: in place of a `ConfError`.
    """
    try:
        yield
    except ConfError as error:
        raise from_conf_error(error, domain) from error
