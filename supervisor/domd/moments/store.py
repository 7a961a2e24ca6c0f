"""MomentStore: the files of snapshots or checkpoints, read when a domain's are first asked for.

Owns: KIND/NAME/MOMENT.xml below the daemon's state folder; the trees in memory.
May touch: those files. May not touch: images, guests.
Source: libvirt 9.0, qemuDomainSnapshotWriteMetadata, qemuCheckpointWriteMetadata.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Final, Generic, TypeVar

from conf.errors import ConfError
from rpc.errors import ErrorCode, VirError
from supervisor.domd.domain import DomainObject
from supervisor.domd.domain_files import xml_files
from supervisor.domd.moments.tree import Moment, MomentTree
from supervisor.objects.definitions import DISK_S
from supervisor.runtime.atomic_file import remove_file, sync_folder
from supervisor.runtime.document_files import read_document, write_document
from supervisor.runtime.paths import Paths

HEADER: Final = (
    "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n"
    "OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n"
    "  virsh {kind}-edit\n"
    "or other application using the libvirt API.\n-->\n\n"
)

M = TypeVar("M", bound=Moment)
K = TypeVar("K", bound=MomentTree)  # type: ignore[type-arg]

log = logging.getLogger(__name__)


class MomentStore(ABC, Generic[M, K]):
    """The moments of one kind that one driver's domains have."""

    kind: ClassVar[str]  # "snapshot", "checkpoint"
    not_found: ClassVar[ErrorCode]

    def __init__(self, paths: Paths, invalidate: Callable[[], None]) -> None:
        """Read nothing yet.

        Args:
            paths: of the driver.
            invalidate: has rpcd drop its cached replies: the answers about moments are among them.
        """
        self._paths = paths
        self._invalidate = invalidate

    @abstractmethod
    def folder(self, domain: DomainObject) -> Path:
        """Return the folder of a domain's files."""

    @abstractmethod
    def kept(self, domain: DomainObject) -> K | None:
        """Return the tree of a domain whose files were read."""

    @abstractmethod
    def keep(self, domain: DomainObject, tree: K | None) -> None:
        """Keep a domain's tree in memory; None: forget it."""

    @abstractmethod
    def load(self, folder: Path) -> K:
        """Read the files of a folder; a damaged one is left out with a log line.

        Raises:
            OSError: the folder cannot be read.
        """

    @abstractmethod
    def text(self, domain: DomainObject, moment: M, tree: K) -> str:
        """Return the document that a moment's file has."""

    async def tree(self, domain: DomainObject) -> K:
        """Return a domain's moments.

        Raises:
            VirError: OPERATION_TIMEOUT, SYSTEM_ERROR: the folder cannot be read.
        """
        kept = self.kept(domain)
        if kept is not None:
            return kept
        try:
            async with asyncio.timeout(DISK_S):
                loaded = await asyncio.to_thread(self.load, self.folder(domain))
        except TimeoutError as error:
            detail = f"{self.kind}s of '{domain.name}' cannot be read in {DISK_S:.0f} s"
            raise domain.errors.operation_timeout(detail) from error
        except OSError as error:
            what = f"cannot read the {self.kind}s of '{domain.name}'"
            raise domain.errors.system_error(what, error) from error
        kept = self.kept(domain)  # another call may have been faster
        if kept is None:
            loaded.on_change = self._invalidate
            self.keep(domain, loaded)
        return kept or loaded

    async def find(self, domain: DomainObject, name: str) -> tuple[K, M]:
        """Find a moment.

        Raises:
            VirError: NO_DOMAIN_SNAPSHOT, NO_DOMAIN_CHECKPOINT.
        """
        tree = await self.tree(domain)
        moment: M | None = tree.get(name)
        if moment is None:
            detail = f"no domain {self.kind} with matching name '{name}'"
            raise VirError(self.not_found, detail, domain.errors.domain)
        return tree, moment

    async def save(self, domain: DomainObject, moments: Iterable[M]) -> None:
        """Write moments' files, durably.

        Raises:
            VirError: INTERNAL_ERROR: a disk error; those before it are written.
        """
        documents = self.documents(domain, await self.tree(domain), moments)
        names = ", ".join(path.stem for path in documents)
        what = f"save metadata for {self.kind} {names}"
        await self.change(domain, what, lambda: self._write(documents))
        self._invalidate()  # what is saved may have been changed in place

    def documents(self, domain: DomainObject, tree: K, moments: Iterable[M]) -> dict[Path, str]:
        """Return moments' files, by their paths."""
        folder, header = self.folder(domain), HEADER.format(kind=self.kind)
        return {
            folder / f"{moment.name}.xml": header + self.text(domain, moment, tree)
            for moment in moments
        }

    async def remove(self, domain: DomainObject, names: Iterable[str]) -> None:
        """Remove moments from the tree, and their files.

        Raises:
            VirError: INTERNAL_ERROR: a disk error.
        """
        tree = await self.tree(domain)
        doomed = list(names)
        folder = self.folder(domain)

        def unlink() -> None:
            self._before_removal()
            for name in doomed:
                remove_file(folder / f"{name}.xml")

        what = f"remove metadata of {self.kind} {', '.join(doomed)}"
        await self.change(domain, what, unlink)
        for name in doomed:
            tree.remove(name)

    async def discard_all(self, domain: DomainObject) -> None:
        """Forget all moments of a domain that ceases to be; errors are logged."""
        self.keep(domain, None)
        self._invalidate()

        def unlink() -> None:
            folder = self.folder(domain)
            if not folder.is_dir():
                return
            self._before_removal()
            for path in list(folder.iterdir()):
                remove_file(path)
            folder.rmdir()
            sync_folder(folder.parent)

        try:
            await asyncio.to_thread(unlink)
        except OSError as error:
            log.warning("%s metadata of %s cannot be removed: %s", self.kind, domain.name, error)

    def _write(self, documents: Mapping[Path, str]) -> None:
        """Write files, in their order; on return they survive a loss of power. It blocks.

        Raises:
            OSError.
        """
        for path, text in documents.items():
            write_document(path, text)

    def _before_removal(self) -> None:
        """Prepare for the removal of files. It blocks.

        Raises:
            OSError.
        """

    async def change(self, domain: DomainObject, what: str, change: Callable[[], None]) -> None:
        """Change files in a thread.

        Args:
            domain: whose they are.
            what: is done to what, for the error: "remove metadata of snapshot s1".
            change: does it.

        Raises:
            VirError: INTERNAL_ERROR: a disk error, or a disk that hangs.
        """
        try:
            async with asyncio.timeout(DISK_S):
                await asyncio.to_thread(change)
        except (OSError, TimeoutError) as error:
            raise domain.errors.error(
                ErrorCode.INTERNAL_ERROR, f"unable to {what}: {error}"
            ) from error


def read_files(folder: Path, kind: str, read: Callable[[str], None]) -> None:
    """Read a folder's files, the oldest first; a damaged one is left out with a log line.

    Args:
        folder: of one domain.
        kind: of the moments, for the log.
        read: gets each file's text, and raises what a parser does.

    Raises:
        OSError: the folder cannot be read.
    """
    for path in sorted(xml_files(folder), key=lambda path: path.stat().st_mtime_ns):
        try:
            read(read_document(path))
        except (OSError, ValueError, ConfError) as error:
            log.error("%s %s is left out: %s", kind, path, error)
