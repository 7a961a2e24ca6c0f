"""SnapshotStore: the snapshots' files, read when a domain's snapshots are first asked for.

Owns: `snapshot/NAME/SNAPSHOT.xml` below the daemon's state folder; the trees in memory.
May touch: those files. May not touch: images, guests.
Source: libvirt 9.0, qemuDomainSnapshotWriteMetadata and qemuDomainSnapshotLoad.

The file of the current snapshot says <active>1</active>. Where the current one changes, the new
one is written first: of two that say so after a crash, the newer file counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from conf.errors import ConfError
from conf.snapshot.model import Snapshot
from conf.snapshot.snapshot_xml import format_stored, parse_stored
from rpc.errors import ErrorCode, VirError
from supervisor.domd.domain import DomainObject
from supervisor.domd.domain_files import xml_files
from supervisor.domd.snapshots.tree import SnapshotTree
from supervisor.objects.definitions import DISK_S
from supervisor.runtime.atomic_file import remove_file, sync_folder
from supervisor.runtime.document_files import read_document, write_document
from supervisor.runtime.paths import Paths

HEADER: Final = (
    "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n"
    "OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n"
    "  virsh snapshot-edit\n"
    "or other application using the libvirt API.\n-->\n\n"
)

log = logging.getLogger(__name__)


class SnapshotStore:
    """The snapshots of one driver's domains."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def folder(self, domain: DomainObject) -> Path:
        """Return the folder of a domain's snapshots."""
        return self._paths.snapshots(domain.name)

    async def tree(self, domain: DomainObject) -> SnapshotTree:
        """Return a domain's snapshots.

        Raises:
            VirError: OPERATION_TIMEOUT, SYSTEM_ERROR: the folder cannot be read.
        """
        if domain.snapshots is None:
            try:
                async with asyncio.timeout(DISK_S):
                    loaded = await asyncio.to_thread(load, self.folder(domain))
            except TimeoutError as error:
                detail = f"snapshots of '{domain.name}' cannot be read in {DISK_S:.0f} s"
                raise domain.errors.operation_timeout(detail) from error
            except OSError as error:
                what = f"cannot read the snapshots of '{domain.name}'"
                raise domain.errors.system_error(what, error) from error
            if domain.snapshots is None:  # another call may have been faster
                domain.snapshots = loaded
        return domain.snapshots

    async def find(self, domain: DomainObject, name: str) -> tuple[SnapshotTree, Snapshot]:
        """Find a snapshot.

        Raises:
            VirError: NO_DOMAIN_SNAPSHOT.
        """
        tree = await self.tree(domain)
        snapshot = tree.get(name)
        if snapshot is None:
            detail = f"no domain snapshot with matching name '{name}'"
            raise VirError(ErrorCode.NO_DOMAIN_SNAPSHOT, detail, domain.errors.domain)
        return tree, snapshot

    async def save(self, domain: DomainObject, snapshots: Iterable[Snapshot]) -> None:
        """Write snapshots' files, durably, with which one is current as the tree says.

        Raises:
            VirError: INTERNAL_ERROR: a disk error; those before it are written.
        """
        tree = await self.tree(domain)
        texts = [
            (
                snapshot.name,
                format_stored(
                    snapshot, uuid=domain.uuid_text, is_current=tree.current == snapshot.name
                ),
            )
            for snapshot in snapshots
        ]
        folder = self.folder(domain)

        def write() -> None:
            for name, text in texts:
                write_document(folder / f"{name}.xml", HEADER + text)

        await self._change(domain, "save metadata for", write)

    async def set_current(self, domain: DomainObject, snapshot: Snapshot | None) -> None:
        """Make a snapshot the current one, and write it and the previous one.

        Raises:
            VirError: INTERNAL_ERROR: a disk error; none is current then.
        """
        tree = await self.tree(domain)
        previous = tree.get(tree.current or "")
        tree.current = snapshot.name if snapshot is not None else None
        changed = [one for one in (snapshot, previous) if one is not None]
        unique = [one for number, one in enumerate(changed) if one not in changed[:number]]
        try:
            await self.save(domain, unique)
        except BaseException:
            tree.current = None
            raise

    async def remove(self, domain: DomainObject, names: Iterable[str]) -> None:
        """Remove snapshots from the tree, and their files.

        Raises:
            VirError: INTERNAL_ERROR: a disk error.
        """
        tree = await self.tree(domain)
        doomed = list(names)
        folder = self.folder(domain)

        def unlink() -> None:
            for name in doomed:
                remove_file(folder / f"{name}.xml")

        await self._change(domain, "remove metadata of", unlink)
        for name in doomed:
            tree.remove(name)

    async def discard_all(self, domain: DomainObject) -> None:
        """Forget all snapshots of a domain that ceases to be; errors are logged."""
        domain.snapshots = None

        def unlink() -> None:
            folder = self.folder(domain)
            for path in list(xml_files(folder)):
                remove_file(path)
            if folder.is_dir():
                folder.rmdir()
                sync_folder(folder.parent)

        try:
            await asyncio.to_thread(unlink)
        except OSError as error:
            log.warning("snapshot metadata of %s cannot be removed: %s", domain.name, error)

    async def _change(
        self, domain: DomainObject, operation: str, change: Callable[[], None]
    ) -> None:
        what = f"unable to {operation} snapshots of domain '{domain.name}'"
        try:
            async with asyncio.timeout(DISK_S):
                await asyncio.to_thread(change)
        except (OSError, TimeoutError) as error:
            raise domain.errors.error(ErrorCode.INTERNAL_ERROR, f"{what}: {error}") from error


def load(folder: Path) -> SnapshotTree:
    """Read the files of a folder; a damaged one is left out with a log line.

    Raises:
        OSError: the folder cannot be read.
    """
    tree = SnapshotTree()
    found = sorted(xml_files(folder), key=lambda path: path.stat().st_mtime_ns)
    current: list[str] = []
    for path in found:
        try:
            snapshot, is_current = parse_stored(read_document(path))
        except (OSError, ValueError, ConfError) as error:
            log.error("snapshot %s is left out: %s", path, error)
            continue
        tree.put(snapshot)
        if is_current:
            current.append(snapshot.name)
    if len(current) > 1:
        log.warning("%s: %s say that they are current", folder, ", ".join(current))
    tree.current = current[-1] if current else None
    return sorted_by_creation(tree)


def sorted_by_creation(tree: SnapshotTree) -> SnapshotTree:
    """Return the tree with its snapshots in the order in which they were made."""
    ordered = SnapshotTree()
    for snapshot in sorted(tree, key=lambda one: one.creation_time or 0):
        ordered.put(snapshot)
    ordered.current = tree.current
    return ordered
