"""SnapshotStore: the snapshots' files, read when a domain's snapshots are first asked for.

Owns: what such a file says, and which snapshot is current. May touch: those files.
May not touch: images, guests.
Source: libvirt 9.0, qemuDomainSnapshotWriteMetadata and qemuDomainSnapshotLoad.

The file of the current snapshot says <active>1</active>. Where the current one changes, the new
one is written first: of two that say so after a crash, the newer file counts. Both are one write
to the journal of definitions (`supervisor.objects.change_journal`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from conf.snapshot.model import Snapshot
from conf.snapshot.snapshot_xml import format_stored, parse_stored
from rpc.errors import ErrorCode
from supervisor.domd.definition_files import DomainDefinitionFiles
from supervisor.domd.disk_changes import Follow
from supervisor.domd.domain import DomainObject
from supervisor.domd.moments.store import MomentStore, read_files
from supervisor.domd.snapshots.tree import SnapshotTree
from supervisor.runtime.paths import Paths

log = logging.getLogger(__name__)


class SnapshotStore(MomentStore[Snapshot, SnapshotTree]):
    """The snapshots of one driver's domains."""

    kind = "snapshot"
    not_found = ErrorCode.NO_DOMAIN_SNAPSHOT

    def __init__(
        self,
        paths: Paths,
        invalidate: Callable[[], None],
        files: DomainDefinitionFiles,
        settle_soon: Callable[[], None],
    ) -> None:
        """Read nothing yet.

        Args:
            paths: of the driver.
            invalidate: as of `MomentStore`.
            files: whose journal the snapshots' files are in, too.
            settle_soon: has what is in it brought to the files a moment later.
        """
        super().__init__(paths, invalidate)
        self._files = files
        self._settle_soon = settle_soon

    def folder(self, domain: DomainObject) -> Path:
        """Return the folder of a domain's snapshots."""
        return self._paths.snapshots(domain.name)

    def kept(self, domain: DomainObject) -> SnapshotTree | None:
        """Return the tree of a domain whose files were read."""
        return domain.snapshots

    def keep(self, domain: DomainObject, tree: SnapshotTree | None) -> None:
        """Keep a domain's tree in memory; None: forget it."""
        domain.snapshots = tree

    def text(self, domain: DomainObject, moment: Snapshot, tree: SnapshotTree) -> str:
        """Return the document that a snapshot's file has, with whether it is the current one."""
        is_current = tree.current == moment.name
        return format_stored(moment, uuid=domain.uuid_text, is_current=is_current)

    async def save(self, domain: DomainObject, moments: Iterable[Snapshot]) -> None:
        """Write snapshots' files, durably.

        Raises:
            VirError: INTERNAL_ERROR: a disk error.
        """
        await super().save(domain, moments)
        self._settle_soon()

    def _write(self, documents: Mapping[Path, str]) -> None:
        self._files.write_beside(documents)

    def _before_removal(self) -> None:
        self._files.settle_now()

    async def set_current(
        self, domain: DomainObject, snapshot: Snapshot | None, write: Follow | None = None
    ) -> None:
        """Make a snapshot the current one, and write it and the previous one.

        Args:
            domain: whose it is.
            snapshot: None: none is the current one any more.
            write: writes them with the definition, unless that does not change.

        Raises:
            VirError: INTERNAL_ERROR: a disk error; none is current then. What `write` raises: the
                current one is what it was.
        """
        tree = await self.tree(domain)
        former = tree.current if write is not None else None
        previous = tree.get(tree.current or "")
        tree.current = snapshot.name if snapshot is not None else None
        changed = [one for one in (snapshot, previous) if one is not None]
        unique = [one for number, one in enumerate(changed) if one not in changed[:number]]
        try:
            if write is None or not await write(self.documents(domain, tree, unique)):
                await self.save(domain, unique)
            self._invalidate()
        except BaseException:
            tree.current = former
            raise

    async def add_current(self, domain: DomainObject, snapshot: Snapshot, write: Follow) -> None:
        """Add a snapshot, which becomes the current one. Arguments as of `set_current`.

        Raises:
            VirError: as `set_current`; there is no such snapshot then.
        """
        tree = await self.tree(domain)
        tree.put(snapshot)
        try:
            await self.set_current(domain, snapshot, write)
        except BaseException:
            tree.remove(snapshot.name)
            raise

    def load(self, folder: Path) -> SnapshotTree:
        """Read the files of a folder; a damaged one is left out with a log line.

        Raises:
            OSError: the folder cannot be read.
        """
        tree = SnapshotTree()
        current: list[str] = []

        def read(text: str) -> None:
            snapshot, is_current = parse_stored(text)
            tree.put(snapshot)
            if is_current:
                current.append(snapshot.name)

        read_files(folder, self.kind, read)
        if len(current) > 1:
            log.warning("%s: %s say that they are current", folder, ", ".join(current))
        tree.current = current[-1] if current else None
        tree.sort()
        return tree
