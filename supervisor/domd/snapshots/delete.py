"""SnapshotDeleter: deletes snapshots: in images, in files, or what the daemon knows of them alone.

Owns: the order of that, and what cannot be deleted. May touch: images of domains that are off, by
qemu-img; guests, through their workers; the snapshots' files.
Source: libvirt 9.0, qemuSnapshotDelete.

An overlay is merged into the image below it, which then holds what the guest wrote since. libvirt
removes the image below a snapshot that is neither current nor has children, because nothing should
use it; here it is removed only if nothing that is known refers to it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

from conf.domain import format_domain, parse_domain
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers
from conf.errors import ConfError
from conf.snapshot.model import Snapshot, SnapshotDisk, SnapshotLocation
from rpc.enums import DomainSnapshotDeleteFlags as DeleteFlags
from rpc.errors import ErrorCode
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.snapshots.create import SnapshotServices, refuse_checkpoints
from supervisor.domd.snapshots.forget_image import forget_layer, forget_overlays
from supervisor.domd.snapshots.image_users import (
    ImageUsers,
    UnknownChain,
    domain_layers,
    find_users,
    snapshot_inside,
    whole_chain,
)
from supervisor.domd.snapshots.off_overlays import disk_of, remove_created
from supervisor.domd.snapshots.qemu_img import (
    COMMIT_S,
    for_each_image,
    plan_commit,
    plan_rebase,
    run_image,
)
from supervisor.domd.snapshots.tree import SnapshotTree
from supervisor.messages.block import DeleteInternal, MergeImage
from supervisor.objects.job import JobKind

WITH_CHILDREN = DeleteFlags.CHILDREN | DeleteFlags.CHILDREN_ONLY

log = logging.getLogger(__name__)


class SnapshotDeleter:
    """Deletes the snapshots of one driver's domains."""

    def __init__(self, services: SnapshotServices) -> None:
        self._services = services
        self._store = services.store

    async def delete(self, domain: DomainObject, name: str, flags: int) -> None:
        """Delete a snapshot, with its children or them alone if the flags say so.

        Raises:
            VirError: NO_DOMAIN_SNAPSHOT; CONFIG_UNSUPPORTED, OPERATION_UNSUPPORTED: it cannot be
                deleted; INTERNAL_ERROR: merging failed.
        """
        domain.errors.check_exclusive(flags, DeleteFlags.CHILDREN, DeleteFlags.CHILDREN_ONLY)
        async with domain.jobs.hold("remoteDispatchDomainSnapshotDelete", JobKind.ASYNC):
            await self._services.domains.follow_disks(domain)
            tree, snapshot = await self._store.find(domain, name)
            if not flags & DeleteFlags.METADATA_ONLY:
                self._check(domain, tree, snapshot, flags)
                if not domain.is_active and snapshot.is_external:
                    await refuse_checkpoints(self._services, domain)
            if not flags & WITH_CHILDREN:
                await self._delete_one(domain, tree, snapshot, flags)
                return
            doomed = tree.descendants(name)
            had_current = tree.current in doomed
            for below in reversed(doomed):
                descendant = tree.get(below)
                assert descendant is not None, "the tree lists what it has"
                await self._remove(domain, descendant, flags)
            if flags & DeleteFlags.CHILDREN_ONLY:
                if had_current:
                    await self._store.set_current(domain, snapshot)
                return
            if had_current:
                tree.current = name
            await self._delete_one(domain, tree, snapshot, flags)

    def _check(
        self, domain: DomainObject, tree: SnapshotTree, snapshot: Snapshot, flags: int
    ) -> None:
        """Refuse what cannot be deleted.

        Raises:
            VirError: CONFIG_UNSUPPORTED, OPERATION_UNSUPPORTED.
        """
        errors = domain.errors
        if flags & WITH_CHILDREN:
            below = [tree.get(name) for name in tree.descendants(snapshot.name)]
            kinds = {one.is_external for one in below if one is not None}
            if True in kinds:
                mixed = "external and internal" if False in kinds else "external"
                detail = f"deletion of {mixed} children disk snapshots not supported"
                raise errors.error(ErrorCode.CONFIG_UNSUPPORTED, detail)
        if not snapshot.is_external:
            if domain.is_active:
                _check_same_images(domain, snapshot)
            return
        if domain.runtime is not None and domain.runtime.status.has_block_jobs:
            raise errors.operation_unsupported(
                "cannot delete external snapshots when there is another active block job"
            )
        if flags & DeleteFlags.CHILDREN_ONLY:
            return
        detail = _external_problem(tree, snapshot, flags)
        if detail:
            raise errors.error(ErrorCode.CONFIG_UNSUPPORTED, detail)

    async def _delete_one(
        self, domain: DomainObject, tree: SnapshotTree, snapshot: Snapshot, flags: int
    ) -> None:
        """Delete a snapshot whose children get its parent."""
        changed: list[Snapshot] = []
        if not flags & DeleteFlags.METADATA_ONLY:
            if not snapshot.is_external:
                await self._delete_internal(domain, snapshot)
            elif removes_images(tree, snapshot):
                await self._remove_unused(domain, tree, snapshot)
            else:
                await self._merge(domain, tree, snapshot)
                changed = forget_overlays(tree, snapshot)
        parent = tree.get(snapshot.parent or "")
        for name in tree.children(snapshot.name):
            child = tree.get(name)
            assert child is not None, "the tree lists what it has"
            child.parent = snapshot.parent
            if child not in changed:
                changed.append(child)
        if parent is not None and parent.revert_disks and snapshot.is_external:
            parent.disks, parent.revert_disks = parent.revert_disks, []
            changed.append(parent)
        was_current = tree.current == snapshot.name
        tree.moved()
        await self._store.save(domain, changed)
        if was_current and parent is not None:
            # The parent's file says that it is current before this one's is gone.
            await self._store.set_current(domain, parent)
        await self._store.remove(domain, [snapshot.name])
        await self._remove_memory(snapshot, flags)

    async def _remove(self, domain: DomainObject, snapshot: Snapshot, flags: int) -> None:
        """Delete a snapshot that has no children any more, and whose parent goes or stays."""
        if not flags & DeleteFlags.METADATA_ONLY:
            await self._delete_internal(domain, snapshot)
        await self._store.remove(domain, [snapshot.name])

    @staticmethod
    async def _remove_memory(snapshot: Snapshot, flags: int) -> None:
        external = snapshot.memory_location == SnapshotLocation.EXTERNAL
        if external and snapshot.memory_file and not flags & DeleteFlags.METADATA_ONLY:
            await asyncio.to_thread(remove_created, [snapshot.memory_file])

    async def _delete_internal(self, domain: DomainObject, snapshot: Snapshot) -> None:
        if domain.is_active:
            request = DeleteInternal(name=snapshot.name)
            await self._services.workers.call_running(domain, request)
            return
        model = snapshot.domain.model if snapshot.domain is not None else domain.current.domain
        await for_each_image("-d", snapshot.name, model.devices.disks, domain.errors, try_all=True)

    async def _remove_unused(
        self, domain: DomainObject, tree: SnapshotTree, snapshot: Snapshot
    ) -> None:
        """Remove the images of a snapshot that nothing is based on any more.

        Raises:
            VirError: OPERATION_UNSUPPORTED: something is.
        """
        assert snapshot.domain is not None, "checked before"
        doomed = [
            layers(disk)[0].path
            for item in snapshot.disks
            if item.is_external
            for disk in snapshot.domain.model.devices.disks
            if disk.target.dev == item.name and layers(disk)
        ]
        users = await asyncio.to_thread(users_of, domain, list(tree), snapshot)
        for path in doomed:
            if path is None or users.is_needed(path):
                detail = (
                    f"image '{path}' of snapshot '{snapshot.name}' is used by the domain or by "
                    "another snapshot"
                )
                raise domain.errors.operation_unsupported(detail)
        await asyncio.to_thread(remove_created, [path for path in doomed if path])

    async def _merge(self, domain: DomainObject, tree: SnapshotTree, snapshot: Snapshot) -> None:
        """Merge the overlays of a snapshot into the images below them.

        Raises:
            VirError: OPERATION_FAILED: an overlay is not where it should be; INTERNAL_ERROR.
        """
        assert snapshot.domain is not None, "checked before"
        repeated = snapshot.is_deleted
        for item in snapshot.disks:
            if not item.is_external:
                continue
            below = next(
                (one for one in snapshot.domain.model.devices.disks if one.target.dev == item.name),
                None,
            )
            if below is None:
                detail = f"failed to find disk '{item.name}' in snapshot VM XML"
                raise domain.errors.operation_failed(detail)
            users = await asyncio.to_thread(users_of, domain, list(tree), snapshot)
            is_merged = not await _is_in_chain(domain, item, layers(below)[0], repeated=repeated)
            if not is_merged:  # else the image that was above the overlay is based on the same
                _check_base(domain, users, item, layers(below)[0])
            await self._merge_one(domain, snapshot, item, below, users, is_merged=is_merged)

    async def _merge_one(
        self,
        domain: DomainObject,
        snapshot: Snapshot,
        item: SnapshotDisk,
        below: Disk,
        users: ImageUsers,
        *,
        is_merged: bool,
    ) -> None:
        base = layers(below)[0]
        if not snapshot.is_deleted:
            # From now on the snapshot's image changes. Whoever repeats this after a death knows
            # that an overlay may be merged already.
            snapshot.is_deleted = True
            await self._store.save(domain, [snapshot])
        if is_merged:
            log.info("%s: '%s' was merged before a process died", domain.name, item.path)
        elif domain.is_active:
            request = MergeImage(target=item.name, top=item.path, base=base.path or "")
            await self._services.domains.run_change(domain, request)
            await self._services.domains.follow_disks(domain)
        else:
            await self._merge_off(domain, item.name, item.location, below)
        for other in users.based_on(item.path):
            await self._rebase(domain, other, base)
        # A block job of QEMU's removes it, too.
        if await asyncio.to_thread(os.path.lexists, item.path):
            await asyncio.to_thread(remove_created, [item.path])

    @staticmethod
    async def _rebase(domain: DomainObject, image: Layer, base: Layer) -> None:
        """Have an image that was based on a merged overlay name what that was merged into."""
        in_use = {one.path for one in domain_layers(domain.current.domain)}
        if domain.is_active and image.path in in_use:
            return  # QEMU has its header
        await run_image(plan_rebase(image, base), domain.errors)

    async def _merge_off(
        self, domain: DomainObject, target: str, location: str, below: Disk
    ) -> None:
        """Merge an overlay of a domain that is off.

        The overlay stays whole until nothing refers to it: wherever this is interrupted, the
        domain's disk has the same bytes.
        """
        definition = domain.definition
        assert definition is not None, "a domain that is off is defined"
        edited = parse_domain(definition.xml)
        disk = disk_of(edited, target)
        chain = await asyncio.to_thread(disk_chain, disk, domain)
        place = next((at for at, one in enumerate(chain) if one.location == location), None)
        base = layers(below)[0]
        if place is None or place + 1 >= len(chain) or chain[place + 1].path != base.path:
            detail = "snapshot VM disk source and parent disk source are not the same"
            raise domain.errors.operation_failed(detail)
        overlay = chain[place]
        await run_image(plan_commit(overlay, chain[place + 1]), domain.errors, deadline_s=COMMIT_S)
        if forget_layer(disk, location, below):
            changed = Definition(format_domain(edited, secure=True), edited)
            changed.is_complete = definition.is_complete
            await self._services.definitions.replace(domain, changed)


def _check_base(domain: DomainObject, users: ImageUsers, item: SnapshotDisk, base: Layer) -> None:
    """Refuse to merge into an image that others are based on: it would change what they have.

    Raises:
        VirError: OPERATION_UNSUPPORTED.
    """
    for other in users.based_on(base.path or ""):
        if other.path != item.path:
            detail = f"image '{other.path}' is based on '{base.path}', too"
            raise domain.errors.operation_unsupported(f"cannot merge '{item.path}': {detail}")


async def _is_in_chain(
    domain: DomainObject, item: SnapshotDisk, base: Layer, *, repeated: bool
) -> bool:
    """Return whether an overlay is still to be merged.

    Raises:
        VirError: OPERATION_FAILED: it is no overlay of the domain's, and was not merged before.
    """
    disk = disk_of(domain.current.domain, item.name)
    chain = await asyncio.to_thread(disk_chain, disk, domain)
    if any(one.location == item.location for one in chain):
        return True
    if repeated and any(one.path == base.path for one in chain):
        return False
    detail = "snapshot VM disk source and parent disk source are not the same"
    raise domain.errors.operation_failed(detail)


def disk_chain(disk: Disk, domain: DomainObject) -> list[Layer]:
    """List a disk's images, also those that only headers name.

    Raises:
        VirError: OPERATION_FAILED: the headers cannot be read.
    """
    try:
        return whole_chain(layers(disk), ends=disk.chain_ends())
    except (OSError, ConfError) as error:
        detail = f"backing chain of disk '{disk.target.dev}' cannot be read: {error}"
        raise domain.errors.operation_failed(detail) from error


def removes_images(tree: SnapshotTree, snapshot: Snapshot) -> bool:
    """Return whether deleting a snapshot in files removes the images that it was taken of.

    Else its overlays are merged into those: also where that was begun, and a death has left the
    snapshot neither current nor with children.
    """
    is_leaf = snapshot.name != tree.current and not tree.children(snapshot.name)
    return is_leaf and not snapshot.is_deleted


def _external_problem(tree: SnapshotTree, snapshot: Snapshot, flags: int) -> str:
    """Return why a snapshot in files cannot be deleted; "": it can."""
    children = tree.children(snapshot.name)
    is_current = tree.current == snapshot.name
    if flags & DeleteFlags.CHILDREN:
        return "deletion of external disk snapshots with children not supported"
    if is_current and children:
        return "deletion of active external snapshot that is not a leaf snapshot is not supported"
    if children and snapshot.name not in tree.ancestors(tree.current or ""):
        return "deletion of non-leaf external snapshot that is not in active chain is not supported"
    if len(children) > 1:
        return "deletion of external disk snapshot with multiple children snapshots not supported"
    parent = tree.get(snapshot.parent or "")
    if parent is not None and not parent.is_external and (is_current or children):
        return "deleting external snapshot that has internal snapshot as parent not supported"
    if snapshot.domain is None:
        return f"snapshot '{snapshot.name}' does not say what its disks were"
    if is_current or children:
        for item in (one for one in snapshot.disks if one.is_external):
            inside = snapshot_inside(item.path, tree)
            if inside is not None:
                return f"snapshot '{inside.name}' is in image '{item.path}', which would be merged"
    return ""


def _check_same_images(domain: DomainObject, snapshot: Snapshot) -> None:
    """Refuse a snapshot in images that the guest does not use now.

    Raises:
        VirError: OPERATION_UNSUPPORTED.
    """
    if snapshot.domain is None:
        return
    now = {disk.target.dev: disk for disk in domain.current.domain.devices.disks}
    for disk in snapshot.domain.model.devices.disks:
        other = now.get(disk.target.dev)
        mine, theirs = layers(disk), layers(other) if other is not None else []
        if mine and (not theirs or theirs[0].location != mine[0].location):
            detail = (
                f"disk image '{disk.target.dev}' for internal snapshot '{snapshot.name}' is not "
                "the same as disk image currently used by VM"
            )
            raise domain.errors.operation_unsupported(detail)


def users_of(domain: DomainObject, snapshots: Sequence[Snapshot], but: Snapshot) -> ImageUsers:
    """Find out which images are needed without a snapshot.

    Raises:
        VirError: OPERATION_FAILED: headers cannot be read.
    """
    definitions = (domain.definition, domain.live_definition)
    models = [one.domain for one in definitions if one is not None]
    try:
        return find_users(snapshots, models, but=but)
    except UnknownChain as error:
        detail = f"backing chains of '{domain.name}' cannot be read: {error}"
        raise domain.errors.operation_failed(detail) from error
