"""SnapshotReverter: has a domain be what it was when a snapshot was made.

Owns: the order of that, and what is too risky without FORCE. May touch: definitions; images of
domains that are off, by qemu-img; guests, through their workers.
Source: libvirt 9.0, qemuSnapshotRevert; for snapshots in files libvirt 9.9, whose users keep the
snapshot and go on writing to a new overlay.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from conf.domain import Domain, format_domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers
from conf.domain.devices.source import Source
from conf.snapshot.align import overlay_path
from conf.snapshot.model import Snapshot, SnapshotDisk, SnapshotLocation, SnapshotState
from rpc.enums import (
    DomainEventDefinedDetailType,
    DomainEventStartedDetailType,
    DomainEventType,
    DomainShutoffReason,
)
from rpc.enums import DomainSnapshotRevertFlags as RevertFlags
from rpc.errors import ErrorCode, VirError
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.registry import refuse_block_jobs
from supervisor.domd.snapshots.create import SnapshotServices, refuse_checkpoints, snapshot_errors
from supervisor.domd.snapshots.image_users import UnknownChain, find_dependent, find_users
from supervisor.domd.snapshots.off_overlays import disk_of, put_overlay, remove_created, use_overlay
from supervisor.domd.snapshots.qemu_img import for_each_image
from supervisor.domd.snapshots.tree import SnapshotTree
from supervisor.domd.starting import restore_source
from supervisor.messages.worker import FRESH_BOOT, Destroy, LoadSnapshot, StartSource
from supervisor.objects.job import JobKind

RUN = RevertFlags.RUNNING | RevertFlags.PAUSED
OFFLINE = (
    SnapshotState.SHUTDOWN,
    SnapshotState.SHUTOFF,
    SnapshotState.CRASHED,
    SnapshotState.DISK_SNAPSHOT,
)

log = logging.getLogger(__name__)


class SnapshotReverter:
    """Reverts one driver's domains."""

    def __init__(self, services: SnapshotServices) -> None:
        self._services = services
        self._store = services.store

    async def revert(self, domain: DomainObject, name: str, flags: int) -> None:
        """Revert a domain to one of its snapshots, which becomes the current one.

        Raises:
            VirError: OPERATION_INVALID; SNAPSHOT_REVERT_RISKY; CONFIG_UNSUPPORTED; what keeps the
                domain from starting.
        """
        domain.errors.check_exclusive(flags, RevertFlags.RUNNING, RevertFlags.PAUSED)
        refuse_block_jobs(domain)
        async with domain.jobs.hold("remoteDispatchDomainRevertToSnapshot", JobKind.ASYNC):
            await self._services.domains.follow_disks(domain)
            tree, snapshot = await self._store.find(domain, name)
            await refuse_checkpoints(self._services, domain)
            self._check(domain, snapshot, flags)
            if not flags & RevertFlags.FORCE:
                await _check_images(domain, tree, snapshot)
            config, inactive = definitions_of(domain, snapshot)
            if snapshot.kind.is_online:
                await self._revert_online(domain, tree, snapshot, config, inactive, flags)
            elif snapshot.kind in OFFLINE:
                await self._revert_offline(domain, tree, snapshot, config, inactive, flags)
            else:
                raise invalid_state(domain, snapshot)
            if tree.current != snapshot.name:
                await self._store.set_current(domain, snapshot)
            if domain.definition is not None:
                detail = DomainEventDefinedDetailType.FROM_SNAPSHOT
                self._services.publisher.lifecycle(domain, DomainEventType.DEFINED, detail)

    def _check(self, domain: DomainObject, snapshot: Snapshot, flags: int) -> None:
        """Refuse what cannot be, and what is risky.

        Raises:
            VirError: OPERATION_INVALID, SNAPSHOT_REVERT_RISKY, OPERATION_UNSUPPORTED.
        """
        online = snapshot.kind.is_online
        if domain.definition is None and not online and not flags & RUN:
            raise domain.errors.operation_invalid(
                "transient domain needs to request run or pause to revert to inactive snapshot"
            )
        if snapshot.is_deleted:
            detail = f"snapshot '{snapshot.name}' is in the middle of its deletion; delete it again"
            raise domain.errors.operation_invalid(detail)
        if snapshot.domain is None:
            detail = f"snapshot '{snapshot.name}' lacks domain '{domain.name}' rollback info"
            raise domain.errors.error(ErrorCode.SNAPSHOT_REVERT_RISKY, detail)
        if flags & RevertFlags.FORCE:
            return
        if not online and self._services.files.has_managed_save(domain):
            detail = (
                "snapshot without memory state, removal of existing managed saved state strongly "
                "recommended to avoid corruption"
            )
            raise domain.errors.error(ErrorCode.SNAPSHOT_REVERT_RISKY, detail)

    async def _revert_online(
        self,
        domain: DomainObject,
        tree: SnapshotTree,
        snapshot: Snapshot,
        config: Domain,
        inactive: Domain,
        flags: int,
    ) -> None:
        """Start the guest from the memory in its images, or in a file."""
        if snapshot.memory_location == SnapshotLocation.EXTERNAL:
            await self._revert_to_file(domain, tree, snapshot, config, inactive, flags)
            return
        if snapshot.is_external:
            detail = f"snapshot '{snapshot.name}' has overlays and its memory in images"
            raise domain.errors.operation_unsupported(detail)
        await self._stop(domain)
        await self._define(domain, inactive)
        definition = as_definition(config)
        source = LoadSnapshot(name=snapshot.name)
        paused = stays_paused(snapshot, flags)
        await self._start(domain, definition, source, flags, paused=paused)

    async def _revert_to_file(
        self,
        domain: DomainObject,
        tree: SnapshotTree,
        snapshot: Snapshot,
        config: Domain,
        inactive: Domain,
        flags: int,
    ) -> None:
        """Start the guest from the memory in a file, on new overlays."""
        # Before the guest is ended: a file that is missing or damaged changes nothing.
        image = await self._services.images.open(snapshot.memory_file or "")
        try:
            source = restore_source(image, bypass_cache=False, was_running=True, reverts=True)
        finally:
            image.descriptor.close()
        try:
            await self._stop(domain)
            await self._revert_overlays(domain, tree, snapshot, config, inactive)
            paused = stays_paused(snapshot, flags)
            await self._start(domain, as_definition(config), source, flags, paused=paused)
        finally:
            source.image.close()

    async def _revert_offline(
        self,
        domain: DomainObject,
        tree: SnapshotTree,
        snapshot: Snapshot,
        config: Domain,
        inactive: Domain,
        flags: int,
    ) -> None:
        """Have the disks be what they were; the guest is started if that is asked for."""
        await self._stop(domain)
        if snapshot.is_external:
            await self._revert_overlays(domain, tree, snapshot, config, inactive)
        else:
            disks = inactive.devices.disks
            complete = await for_each_image("-a", snapshot.name, disks, domain.errors, try_all=True)
            if not complete:
                detail = f"snapshot '{snapshot.name}' could not be applied to every disk"
                raise domain.errors.operation_failed(f"{detail}; see the daemon's log")
            await self._define(domain, inactive)
        if flags & RUN:
            definition = domain.definition or as_definition(inactive)
            paused = bool(flags & RevertFlags.PAUSED)
            await self._start(domain, definition, FRESH_BOOT, flags, paused=paused)

    async def _revert_overlays(
        self,
        domain: DomainObject,
        tree: SnapshotTree,
        snapshot: Snapshot,
        config: Domain,
        inactive: Domain,
    ) -> None:
        """Put new overlays on the images of the snapshot, and drop those that were written to.

        Both definitions get them; a disk of `inactive` with another image keeps it. The images that
        the snapshot consists of are never written to: children, and a second revert, need them
        as they are.
        """
        fresh: list[SnapshotDisk] = []
        created: list[str] = []
        dropped = self._written_overlays(domain, tree)
        try:
            for item in snapshot.disks:
                copied = SnapshotDisk(name=item.name, snapshot=item.snapshot, type="file")
                if item.is_external:
                    path = await asyncio.to_thread(free_overlay, config, copied)
                    copied.source, copied.format = Source(file=path), "qcow2"
                    below = layers(disk_of(config, item.name))[0].path
                    await put_overlay(domain, config, copied, created, reuse=False)
                    put_same(inactive, copied, below)
                fresh.append(copied)
            await self._record(domain, tree, snapshot, inactive, fresh)
        except BaseException:
            await asyncio.to_thread(remove_created, created)
            raise
        await asyncio.to_thread(remove_unneeded, dropped, list(tree), [inactive, config])

    async def _record(
        self,
        domain: DomainObject,
        tree: SnapshotTree,
        snapshot: Snapshot,
        inactive: Domain,
        fresh: list[SnapshotDisk],
    ) -> None:
        """Write that the domain has a snapshot's disks, whether or not a start from it succeeds.

        The definition and which snapshot is current are one write: a snapshot that is made next is
        the child of the one whose disks the domain has.

        Raises:
            VirError: it is not written; nothing has changed.
        """
        current = tree.get(tree.current or "") or snapshot
        before = snapshot.disks, snapshot.revert_disks, current.revert_disks
        current.revert_disks = []
        if tree.children(snapshot.name):
            snapshot.revert_disks = fresh
        else:
            snapshot.disks, snapshot.revert_disks = fresh, []
        try:
            await self._store.set_current(
                domain, snapshot, lambda beside: self._define(domain, inactive, beside)
            )
        except BaseException:
            current.revert_disks = before[2]
            snapshot.disks, snapshot.revert_disks = before[:2]
            raise

    @staticmethod
    def _written_overlays(domain: DomainObject, tree: SnapshotTree) -> list[str]:
        """List the overlays that hold what was written since the current snapshot."""
        current = tree.get(tree.current or "")
        if current is None:
            return []
        items = current.revert_disks or current.disks
        in_use = {
            chain[0].path for disk in domain.current.domain.devices.disks if (chain := layers(disk))
        }
        return [item.path for item in items if item.is_external and item.path in in_use]

    async def _stop(self, domain: DomainObject) -> None:
        if domain.is_active:
            reason = DomainShutoffReason.FROM_SNAPSHOT
            await self._services.workers.call_until_done(domain, Destroy(reason=reason))
            await self._services.domains.wait_off(domain)

    async def _define(
        self,
        domain: DomainObject,
        inactive: Domain,
        beside: Mapping[Path, str] = MappingProxyType({}),
    ) -> bool:
        """Replace a definition; whether there is one, and what is beside it is written, too."""
        if domain.definition is None:
            return False
        await self._services.definitions.replace(domain, as_definition(inactive), beside)
        return True

    async def _start(
        self,
        domain: DomainObject,
        definition: Definition,
        source: StartSource,
        flags: int,
        *,
        paused: bool,
    ) -> None:
        if flags & RevertFlags.RESET_NVRAM and domain.definition is not None:
            await asyncio.to_thread(self._services.files.reset_nvram, domain, definition)
        detail = DomainEventStartedDetailType.FROM_SNAPSHOT
        await self._services.domains.start(
            domain, definition, source=source, paused=paused, detail=detail
        )


async def _check_images(domain: DomainObject, tree: SnapshotTree, snapshot: Snapshot) -> None:
    """Refuse to change an image that another snapshot consists of: its bytes would be lost.

    libvirt 9.0 does not look.

    Raises:
        VirError: SNAPSHOT_REVERT_RISKY.
    """
    found = await asyncio.to_thread(find_dependent, snapshot, list(tree))
    if found is not None:
        other, path = found
        detail = f"this would change image '{path}', which snapshot '{other.name}' consists of"
        raise domain.errors.error(ErrorCode.SNAPSHOT_REVERT_RISKY, detail)


def definitions_of(domain: DomainObject, snapshot: Snapshot) -> tuple[Domain, Domain]:
    """Return what a snapshot's guest ran with, and the definition that the domain had then."""
    assert snapshot.domain is not None, "checked by the caller"
    nested = snapshot.inactive_domain or snapshot.domain
    found = (snapshot.domain.copy(), nested.copy())
    for one in found:
        one.name = domain.name  # it may have been renamed
    return found


def stays_paused(snapshot: Snapshot, flags: int) -> bool:
    """Return whether the guest of an online snapshot is left paused."""
    if flags & RevertFlags.RUNNING:
        return False
    return snapshot.kind is SnapshotState.PAUSED or bool(flags & RevertFlags.PAUSED)


def put_same(model: Domain, item: SnapshotDisk, below: str | None) -> None:
    """Put an overlay on a definition's disk, if that has the image below the overlay."""
    assert item.source is not None, "an overlay was given its name"
    for disk in model.devices.disks:
        chain = layers(disk)
        if disk.target.dev == item.name and chain and chain[0].path == below:
            use_overlay(disk, Layer(type="file", source=item.source, format=item.format or "qcow2"))


def remove_unneeded(paths: list[str], snapshots: list[Snapshot], models: list[Domain]) -> None:
    """Remove overlays that nothing is based on any more; all are kept if that is not known."""
    try:
        users = find_users(snapshots, models)
    except UnknownChain as error:
        log.warning("overlays %s are kept: %s", ", ".join(paths), error)
        return
    remove_created([path for path in paths if not users.is_needed(path)])


def free_overlay(model: Domain, item: SnapshotDisk) -> str:
    """Return a path for a disk's new overlay, named by the time, where no file is.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the disk's image is no regular file.
    """
    disk = next((one for one in model.devices.disks if one.target.dev == item.name), Disk())
    for stamp in itertools.count(int(time.time())):
        with snapshot_errors():
            path = overlay_path(str(stamp), item, disk)
        if not os.path.lexists(path):
            return path
    raise AssertionError("numbers do not end")


def as_definition(model: Domain) -> Definition:
    """Return a definition that is completed when it is started."""
    return Definition(format_domain(model, secure=True))


def invalid_state(domain: DomainObject, snapshot: Snapshot) -> VirError:
    """OPERATION_UNSUPPORTED, INTERNAL_ERROR: no guest can be put into the snapshot's state."""
    if snapshot.kind is SnapshotState.PMSUSPENDED:
        detail = "qemu doesn't support reversion of snapshot taken in PMSUSPENDED state"
        return domain.errors.operation_unsupported(detail)
    detail = f"Invalid target domain state '{snapshot.state}'. Refusing snapshot reversion"
    return domain.errors.error(ErrorCode.INTERNAL_ERROR, detail)
