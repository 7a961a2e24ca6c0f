"""SnapshotCreator: makes and redefines snapshots of domains, running and off.

Owns: the order of that, and which kind of snapshot a document and its flags ask for.
May touch: definitions; images of domains that are off, by qemu-img; guests, through their workers.
Source: libvirt 9.0, qemuSnapshotCreateXML.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.errors import ConfError
from conf.mapper import Mode, write
from conf.moment.nested_domain import NestedDomain
from conf.settings import QemuConfig
from conf.snapshot.align import align_disks
from conf.snapshot.model import (
    Snapshot,
    SnapshotLocation,
    SnapshotMemory,
    SnapshotState,
)
from conf.snapshot.snapshot_xml import parse_snapshot
from rpc.enums import DomainJobOperation, DomainShutoffReason, DomainState
from rpc.enums import DomainSnapshotCreateFlags as CreateFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.schema import require_valid
from supervisor.domd.checkpoints.store import CheckpointStore
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.definitions import DomainDefinitions
from supervisor.domd.disk_changes import DiskChanges
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.guest_jobs import GuestJobs, JobRequest
from supervisor.domd.registry import refuse_block_jobs
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.saved_images import SavedImages
from supervisor.domd.snapshots.create_flags import check_flags
from supervisor.domd.snapshots.off_overlays import put_overlay, remove_created
from supervisor.domd.snapshots.prepare import check_snapshot, refuse_mirrors
from supervisor.domd.snapshots.qemu_img import for_each_image
from supervisor.domd.snapshots.redefine import check_redefined, check_state
from supervisor.domd.snapshots.store import SnapshotStore
from supervisor.domd.snapshots.tree import SnapshotTree
from supervisor.domd.workers import Workers
from supervisor.messages.block import CreateOverlays, SaveExternal, SaveInternal
from supervisor.messages.worker import Destroy, Suspend
from supervisor.objects.job import AsyncJob, JobKind, JobRecord

CALL: Final = "remoteDispatchDomainSnapshotCreateXML"
SCHEMA: Final = "domainsnapshot.rng"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotServices:
    """What snapshots are made, reverted and deleted with."""

    store: SnapshotStore
    checkpoints: CheckpointStore
    definitions: DomainDefinitions
    changes: DiskChanges
    builder: DefinitionBuilder
    domains: RunningDomains
    workers: Workers
    files: DomainFiles
    publisher: Publisher
    jobs: GuestJobs
    images: SavedImages
    config: Callable[[], QemuConfig]  # called each time: qemu.conf can be reloaded


class SnapshotCreator:
    """Makes the snapshots of one driver's domains."""

    def __init__(self, services: SnapshotServices) -> None:
        self._store = services.store
        self._definitions = services.definitions
        self._changes = services.changes
        self._builder = services.builder
        self._domains = services.domains
        self._workers = services.workers
        self._services = services

    async def create(self, domain: DomainObject, xml: str, flags: int) -> Snapshot:
        """Make a snapshot, or redefine one.

        Raises:
            VirError, ConfError: it cannot be made; nothing has changed.
        """
        check_flags(flags, domain.errors)
        if domain.definition is None and flags & CreateFlags.HALT:
            detail = "cannot halt after transient domain snapshot"
            raise domain.errors.operation_invalid(detail)
        if not domain.is_active:
            await refuse_checkpoints(self._services, domain)
        await require_valid(xml, SCHEMA, Snapshot, flags & CreateFlags.VALIDATE)
        redefine = bool(flags & CreateFlags.REDEFINE)
        offline = bool(flags & CreateFlags.DISK_ONLY) or not domain.is_active
        with snapshot_errors():
            snapshot = parse_snapshot(xml, redefine=redefine, offline=offline)
            if not redefine:
                snapshot.creation_time = int(time.time())
                snapshot.name = snapshot.name or str(snapshot.creation_time)
        if not flags & CreateFlags.NO_METADATA:
            check_name(snapshot.name, domain)
        external_memory = snapshot.memory_location == SnapshotLocation.EXTERNAL
        if flags & CreateFlags.LIVE and not (domain.is_active and external_memory):
            detail = "live snapshot creation is supported only during full system snapshots"
            raise domain.errors.operation_unsupported(detail)
        state = snapshot.kind if redefine else guest_state(domain)
        with snapshot_errors(domain.errors.domain):
            if state is SnapshotState.DISK_SNAPSHOT and not redefine:
                raise ConfError("internal", f"Invalid domain state {state}")
            check_state(state)
        if external_memory and not redefine and domain.is_active:
            return await self._create_with_memory(domain, snapshot, flags)
        async with domain.jobs.hold(CALL, JobKind.ASYNC):
            tree = await self._store.tree(domain)
            if redefine:
                return await self._redefine(domain, tree, snapshot, flags)
            return await self._create(domain, tree, snapshot, flags)

    async def _redefine(
        self, domain: DomainObject, tree: SnapshotTree, snapshot: Snapshot, flags: int
    ) -> Snapshot:
        for tag in ("domain", "inactiveDomain"):
            nested = snapshot.domain if tag == "domain" else snapshot.inactive_domain
            if nested is None:
                continue
            completed = await self._builder.complete_only(nested.copy())
            if tag == "domain":
                snapshot.domain = NestedDomain.of(completed)
            else:
                snapshot.inactive_domain = NestedDomain.of(completed, tag)
        with snapshot_errors():
            check_redefined(tree, snapshot, uuid=domain.uuid_text, flags=flags)
        other = tree.get(snapshot.name)
        if other is not None and snapshot.domain is None:
            snapshot.domain = other.domain
        tree.put(snapshot)
        if flags & CreateFlags.CURRENT:
            await self._store.set_current(domain, snapshot)
        else:
            await self._store.save(domain, [snapshot])
        return snapshot

    async def _create(
        self, domain: DomainObject, tree: SnapshotTree, snapshot: Snapshot, flags: int
    ) -> Snapshot:
        overlays = await self._prepare(domain, tree, snapshot, flags)
        if domain.is_active and flags & CreateFlags.DISK_ONLY and not flags & CreateFlags.HALT:
            await self._take_disks(domain, snapshot, flags)
            return snapshot
        if domain.is_active:
            await self._take_active(domain, snapshot, flags)
        elif overlays:
            await self._take_overlays(domain, snapshot, flags)
            return snapshot
        else:
            assert snapshot.domain is not None, "set when it was prepared"
            disks = snapshot.domain.copy().devices.disks
            await for_each_image("-c", snapshot.name, disks, domain.errors, try_all=False)
        if not flags & CreateFlags.NO_METADATA:
            tree.put(snapshot)
            await self._store.set_current(domain, snapshot)
        return snapshot

    async def _prepare(
        self, domain: DomainObject, tree: SnapshotTree, snapshot: Snapshot, flags: int
    ) -> int:
        """Fill in a snapshot, and check it; how many overlays there are."""
        await self._domains.follow_disks(domain)
        active = domain.is_active
        model = domain.current.startable
        # The text alone: the model is the running guest's, and has more than a definition.
        snapshot.domain = NestedDomain(format_domain(model, secure=True, level=1))
        if active and domain.definition is not None:
            snapshot.inactive_domain = _inactive(domain.definition)
        # Images may be on servers that hang, so they are looked at in a thread.
        overlays = await asyncio.to_thread(self._plan, domain, snapshot, model, flags)
        # Without a record overlays may have any name; in images it would replace another one's.
        keeps_none = flags & CreateFlags.NO_METADATA and snapshot.is_external
        if tree.get(snapshot.name) is not None and not keeps_none:
            detail = f"domain moment {snapshot.name} already exists"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.DOMAIN)
        snapshot.parent = tree.current
        return overlays

    async def _create_with_memory(
        self, domain: DomainObject, snapshot: Snapshot, flags: int
    ) -> Snapshot:
        """Make a snapshot with its memory in a file, as a job: it goes on without its client."""
        images, image_format = self._services.images, self._services.config().snapshot_image_format
        compression = images.compression(image_format, "snapshot")

        async def prepare() -> None:
            tree = await self._store.tree(domain)
            await self._prepare(domain, tree, snapshot, flags)
            refuse_block_jobs(domain)

        def make(record: JobRecord) -> SaveExternal:
            external = [item for item in snapshot.disks if item.is_external]
            return SaveExternal(
                job=record,
                path=snapshot.memory_file or "",
                xml=domain.current.migratable_xml,
                cookie=domain.current.cookie,
                compression=compression,
                live=bool(flags & CreateFlags.LIVE),
                halt=bool(flags & CreateFlags.HALT),
                disks=[write(item, Mode(secure=True)) for item in external],
                reuse=bool(flags & CreateFlags.REUSE_EXT),
            )

        async def finish() -> None:
            await self._domains.follow_disks(domain)
            await self._halt(domain, flags)
            if not flags & CreateFlags.NO_METADATA:
                tree = await self._store.tree(domain)
                tree.put(snapshot)
                await self._store.set_current(domain, snapshot)

        request = JobRequest(
            job=AsyncJob.SNAPSHOT,
            operation=DomainJobOperation.SNAPSHOT,
            call=CALL,
            beside_block_jobs=True,  # `prepare` refuses them, after what is wrong with a disk
            make=make,
            prepare=prepare,
            finish=finish,
        )
        await self._services.jobs.run(domain, request)
        return snapshot

    def _plan(self, domain: DomainObject, snapshot: Snapshot, model: Domain, flags: int) -> int:
        """Decide what each disk and the memory do; how many overlays there are.

        Raises:
            ConfError, VirError: the snapshot cannot be made.
        """
        state = guest_state(domain)
        location, uniform = SnapshotLocation.EXTERNAL, False
        memory = snapshot.memory or SnapshotMemory()
        if flags & CreateFlags.DISK_ONLY:
            active = domain.is_active
            state = SnapshotState.DISK_SNAPSHOT if active else SnapshotState.SHUTOFF
            memory.snapshot = SnapshotLocation.NO
        elif memory.snapshot != SnapshotLocation.EXTERNAL:
            location, uniform = SnapshotLocation.INTERNAL, True
            if domain.is_active and memory.snapshot == SnapshotLocation.NO:
                detail = "internal snapshot of a running VM must include the memory state"
                raise domain.errors.operation_unsupported(detail)
            off = state is SnapshotState.SHUTOFF
            memory.snapshot = SnapshotLocation.NO if off else SnapshotLocation.INTERNAL
        snapshot.state, snapshot.memory = state, memory
        with snapshot_errors():
            align_disks(snapshot, model, location, uniform=uniform)
        refuse_mirrors(snapshot, domain.current.domain)
        reuse = bool(flags & CreateFlags.REUSE_EXT)
        with snapshot_errors(domain.errors.domain):
            return check_snapshot(snapshot, model, active=domain.is_active, reuse=reuse)

    async def _take_active(self, domain: DomainObject, snapshot: Snapshot, flags: int) -> None:
        """Have the worker make the snapshot of its guest, and end the guest if that is wanted."""
        if flags & CreateFlags.DISK_ONLY:
            await self._put_overlays(domain, snapshot, flags)
            await self._domains.follow_disks(domain)
        else:
            await self._domains.run_change(domain, SaveInternal(name=snapshot.name))
        await self._halt(domain, flags)

    async def _take_disks(self, domain: DomainObject, snapshot: Snapshot, flags: int) -> None:
        """Put overlays on a running guest's disks; its definition and the record are one write."""
        async with self._changes.following(domain) as follow:
            await self._put_overlays(domain, snapshot, flags)
            if flags & CreateFlags.NO_METADATA:
                await follow({})
                return
            await self._store.add_current(domain, snapshot, follow)

    async def _put_overlays(self, domain: DomainObject, snapshot: Snapshot, flags: int) -> None:
        if any(item.snapshot == SnapshotLocation.MANUAL for item in snapshot.disks):
            # Who makes the others' snapshots by hand resumes the guest afterwards.
            await self._workers.call_running(domain, Suspend())
        request = CreateOverlays(
            disks=[write(item, Mode(secure=True)) for item in snapshot.disks if item.is_external],
            reuse=bool(flags & CreateFlags.REUSE_EXT),
            quiesce=bool(flags & CreateFlags.QUIESCE),
        )
        await self._domains.run_change(domain, request)

    async def _halt(self, domain: DomainObject, flags: int) -> None:
        if flags & CreateFlags.HALT and domain.is_active:
            reason = DomainShutoffReason.FROM_SNAPSHOT
            await self._workers.call_until_done(domain, Destroy(reason=reason))

    async def _take_overlays(self, domain: DomainObject, snapshot: Snapshot, flags: int) -> None:
        """Make overlays of the disks of a domain that is off, have it use them, and record that.

        Raises:
            VirError: qemu-img failed, or the definition cannot be written; the overlays are
                removed again.
        """
        definition = domain.definition
        assert definition is not None, "a domain that is off is defined"
        reuse = bool(flags & CreateFlags.REUSE_EXT)
        edited = parse_domain(definition.xml)
        created: list[str] = []
        try:
            for item in snapshot.disks:
                if item.is_external:
                    await put_overlay(domain, edited, item, created, reuse=reuse)
            changed = Definition(format_domain(edited, secure=True), edited)
            changed.is_complete = definition.is_complete
            if flags & CreateFlags.NO_METADATA:
                await self._definitions.replace(domain, changed)
                return

            async def replace(beside: Mapping[Path, str]) -> bool:
                await self._definitions.replace(domain, changed, beside)
                return True

            await self._store.add_current(domain, snapshot, replace)
        except BaseException:
            await asyncio.to_thread(remove_created, created)
            raise


def _inactive(definition: Definition) -> NestedDomain:
    tag = "inactiveDomain"
    if definition.is_complete:  # written by this process, not by somebody else to a file
        return NestedDomain.of_text(definition.xml, definition.domain, tag)
    return NestedDomain.of(definition.domain, tag)


async def refuse_checkpoints(services: SnapshotServices, domain: DomainObject) -> None:
    """Refuse what would have a disk's content change without its checkpoints noting it.

    qemu-img and QEMU's -loadvm leave bitmaps as they are, or refuse half way.

    Raises:
        VirError: OPERATION_UNSUPPORTED.
    """
    if len(await services.checkpoints.tree(domain)):
        detail = "cannot perform block operations while checkpoint exists"
        raise domain.errors.operation_unsupported(detail)


def guest_state(domain: DomainObject) -> SnapshotState:
    """Return the state that a snapshot of a domain has."""
    return SnapshotState(DomainState(domain.state[0]).name.lower())


def check_name(name: str, domain: DomainObject) -> None:
    """Refuse a name that cannot be a file's.

    Raises:
        VirError: XML_DETAIL.
    """
    why = "can't contain '/'" if "/" in name else "can't start with '.'"
    if "/" in name or name.startswith("."):
        detail = f"invalid snapshot name '{name}': name {why}"
        raise VirError(ErrorCode.XML_DETAIL, detail, domain.errors.domain)


@contextlib.contextmanager
def snapshot_errors(domain: ErrorDomain = ErrorDomain.DOMAIN_SNAPSHOT) -> Iterator[None]:
    """Give refusals of `conf` an error domain.

    Raises:
        VirError: in place of a `ConfError`.
    """
    try:
        yield
    except ConfError as error:
        raise from_conf_error(error, domain) from error
