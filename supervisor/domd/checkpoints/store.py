"""CheckpointStore: the checkpoints' files, with those of checkpoints half made or half deleted.

Owns: `checkpoint/NAME/CHECKPOINT.xml` below the daemon's state folder, and the two marks beside it.
May touch: those files. May not touch: images, guests.
Source: libvirt 9.0, qemuCheckpointWriteMetadata and qemuDomainCheckpointLoad.

A checkpoint is a file here and bitmaps in QEMU, and domd may die between the two. Before QEMU is
asked, CHECKPOINT.xml.creating has what the file will have, or CHECKPOINT.xml.deleting is beside the
file. `settle` finds out afterwards what QEMU has done: when domd starts, and when the checkpoints
are needed. (A stock daemon that is started before takes the first for a checkpoint.)
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from conf.checkpoint.checkpoint_xml import format_checkpoint, parse_stored
from conf.checkpoint.model import Checkpoint
from conf.errors import ConfError
from rpc.errors import ErrorCode, VirError
from supervisor.domd.checkpoints.tree import CheckpointTree
from supervisor.domd.domain import DomainObject
from supervisor.domd.moments.store import HEADER, MomentStore, read_files
from supervisor.runtime.atomic_file import remove_file, sync_folder
from supervisor.runtime.document_files import read_document, write_document
from supervisor.runtime.paths import Paths

CREATING: Final = ".creating"
DELETING: Final = ".deleting"

#: Returns whether a checkpoint's bitmaps are in the domain's images.
IsMade = Callable[[DomainObject, Checkpoint], Awaitable[bool]]

log = logging.getLogger(__name__)


class CheckpointStore(MomentStore[Checkpoint, CheckpointTree]):
    """The checkpoints of one driver's domains."""

    kind = "checkpoint"
    not_found = ErrorCode.NO_DOMAIN_CHECKPOINT

    def __init__(self, paths: Paths, invalidate: Callable[[], None], is_made: IsMade) -> None:
        super().__init__(paths, invalidate)
        self._is_made = is_made
        self._settling = asyncio.Lock()

    def folder(self, domain: DomainObject) -> Path:
        """Return the folder of a domain's checkpoints."""
        return self._paths.checkpoints(domain.name)

    def kept(self, domain: DomainObject) -> CheckpointTree | None:
        """Return the tree of a domain whose files were read."""
        return domain.checkpoints

    def keep(self, domain: DomainObject, tree: CheckpointTree | None) -> None:
        """Keep a domain's tree in memory; None: forget it."""
        domain.checkpoints = tree

    def text(self, domain: DomainObject, moment: Checkpoint, tree: CheckpointTree) -> str:
        """Return the document that a checkpoint's file has."""
        return format_checkpoint(moment, secure=True)

    def load(self, folder: Path) -> CheckpointTree:
        """Read the files of a folder; a damaged one is left out with a log line.

        Raises:
            OSError: the folder cannot be read.
        """
        tree = CheckpointTree()
        read_files(folder, self.kind, lambda text: tree.put(parse_stored(text)))
        tree.sort()
        tree.current = tree.find_current()
        return tree

    async def tree(self, domain: DomainObject) -> CheckpointTree:
        """Return a domain's checkpoints; those that a domd died over are settled before.

        Raises:
            VirError: OPERATION_TIMEOUT, SYSTEM_ERROR: the folder cannot be read; as `settle`.
        """
        if domain.checkpoints is None:
            await self.settle(domain)
        return await super().tree(domain)

    # Checkpoints under way.

    async def begin_create(self, domain: DomainObject, checkpoint: Checkpoint) -> None:
        """Write down that QEMU is about to make a checkpoint.

        Raises:
            VirError: INTERNAL_ERROR: a disk error.
        """
        text = HEADER.format(kind=self.kind) + format_checkpoint(checkpoint, secure=True)
        path = self._path(domain, checkpoint.name, CREATING)
        what = f"save metadata for checkpoint {checkpoint.name}"
        await self.change(domain, what, lambda: write_document(path, text))

    async def finish_create(self, domain: DomainObject, checkpoint: Checkpoint) -> None:
        """Have a checkpoint that QEMU has made be there, as the current one.

        Raises:
            VirError: INTERNAL_ERROR: a disk error.
        """
        tree = await super().tree(domain)
        path, what = self._path(domain, checkpoint.name), "save metadata for checkpoint"
        await self.change(domain, f"{what} {checkpoint.name}", lambda: self._adopt(path))
        tree.put(checkpoint)
        tree.current = checkpoint.name

    async def cancel_create(self, domain: DomainObject, name: str) -> None:
        """Forget a checkpoint that QEMU has not made.

        Raises:
            VirError: INTERNAL_ERROR: a disk error.
        """
        path = self._path(domain, name, CREATING)
        await self.change(
            domain, f"remove metadata of checkpoint {name}", lambda: remove_file(path)
        )

    async def begin_delete(self, domain: DomainObject, name: str) -> None:
        """Write down that QEMU is about to delete a checkpoint.

        Raises:
            VirError: INTERNAL_ERROR: a disk error.
        """
        path = self._path(domain, name, DELETING)
        await self.change(
            domain, f"remove metadata of checkpoint {name}", lambda: write_document(path, "")
        )

    async def cancel_delete(self, domain: DomainObject, name: str) -> None:
        """Keep a checkpoint that QEMU has not deleted.

        Raises:
            VirError: INTERNAL_ERROR: a disk error.
        """
        path = self._path(domain, name, DELETING)
        await self.change(
            domain, f"remove metadata of checkpoint {name}", lambda: remove_file(path)
        )

    async def finish_delete(self, domain: DomainObject, name: str) -> None:
        """Forget a checkpoint; its children get its parent, which becomes current in its place.

        Raises:
            VirError: INTERNAL_ERROR: a disk error.
        """
        tree = await super().tree(domain)
        was_current = tree.current == name
        moved, parent = reparent(tree, name)
        folder = self.folder(domain)
        try:
            what = f"remove metadata of checkpoint {name}"
            await self.change(domain, what, lambda: forget_files(folder, name, moved))
        except BaseException:
            self.forget(domain)  # the files say what has become of it
            raise
        tree.remove(name)
        tree.moved()
        if was_current:
            tree.current = parent if parent is not None and tree.get(parent) is not None else None

    def forget(self, domain: DomainObject) -> None:
        """Have the files be read again, and what is under way be settled."""
        self.keep(domain, None)
        self._invalidate()

    async def settle_all(self, domains: Iterable[DomainObject]) -> None:
        """Settle what a previous domd died over; what is not known yet is left for later use."""
        marked = await asyncio.to_thread(_marked_names, self._paths.checkpoints("x").parent)
        for domain in domains:
            if domain.name not in marked:
                continue
            try:
                await self.settle(domain)
            except VirError as error:
                log.info("checkpoints of %s are settled when needed: %s", domain.name, error)

    async def settle(self, domain: DomainObject) -> None:
        """Finish or undo what a domd, or a worker, died over.

        Raises:
            VirError: SYSTEM_ERROR: the folder cannot be read; OPERATION_TIMEOUT and others: what
                a guest has is not known.
        """
        folder = self.folder(domain)
        try:
            found = await asyncio.to_thread(_marks, folder)
        except OSError as error:
            what = f"cannot read the checkpoints of '{domain.name}'"
            raise domain.errors.system_error(what, error) from error
        if not found:
            return
        async with self._settling:
            for path in await asyncio.to_thread(_marks, folder):
                await self._settle(domain, folder, path)

    async def _settle(self, domain: DomainObject, folder: Path, mark: Path) -> None:
        is_new = mark.name.endswith(CREATING)
        final = mark.with_name(mark.name.removesuffix(CREATING).removesuffix(DELETING))
        try:
            text = await asyncio.to_thread(read_document, mark if is_new else final)
            checkpoint = parse_stored(text)
        except (OSError, ValueError, ConfError) as error:
            log.error("%s is left out: %s", mark, error)
            await self.change(domain, f"remove {mark}", lambda: remove_file(mark))
            return
        is_made = await self._is_made(domain, checkpoint)
        done = is_made == is_new
        log.info("%s: %s is %s", domain.name, mark.name, "finished" if done else "undone")

        def apply() -> None:
            if not done:
                remove_file(mark)
            elif is_new:
                self._adopt(final)
            else:
                moved, _ = reparent(self.load(folder), checkpoint.name)
                forget_files(folder, checkpoint.name, moved)

        await self.change(domain, f"settle {mark}", apply)

    def _path(self, domain: DomainObject, name: str, mark: str = "") -> Path:
        return self.folder(domain) / f"{name}.xml{mark}"

    @staticmethod
    def _adopt(path: Path) -> None:
        os.rename(f"{path}{CREATING}", path)
        sync_folder(path.parent)


def _marks(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [folder / name for name in names if name.endswith((CREATING, DELETING))]


def _marked_names(root: Path) -> set[str]:
    """Return the names of the domains that have checkpoints under way; all are read at once."""
    try:
        return {folder.name for folder in root.iterdir() if folder.is_dir() and _marks(folder)}
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("checkpoints under way are not looked for: %s", error)
        return set()


def reparent(tree: CheckpointTree, name: str) -> tuple[list[Checkpoint], str | None]:
    """Give the children of a checkpoint its parent.

    Returns:
        The children, and the parent.
    """
    checkpoint = tree.get(name)
    parent = checkpoint.parent if checkpoint is not None else None
    moved = [child for each in tree.children(name) if (child := tree.get(each)) is not None]
    for child in moved:
        child.parent = parent
    return moved, parent


def forget_files(folder: Path, name: str, moved: list[Checkpoint]) -> None:
    """Write the children of a checkpoint that is deleted, then remove its file and its mark.

    Raises:
        OSError.
    """
    for child in moved:
        text = HEADER.format(kind="checkpoint") + format_checkpoint(child, secure=True)
        write_document(folder / f"{child.name}.xml", text)
    remove_file(folder / f"{name}.xml")
    remove_file(folder / f"{name}.xml{DELETING}")
