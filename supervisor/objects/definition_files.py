"""One kind on disk: definitions, and the links that start them with the host.

Owns: the files of the kind in the folders that it is given.
May not touch: what documents mean; what they are about.
Source: libvirt 9.0's layout: NAME.xml, autostart/NAME.xml.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervisor.objects.object_type import ObjectType
from supervisor.objects.xml_comments import escape_comment
from supervisor.runtime.atomic_file import remove_file, sync_folder, write_file

HEADER: Final = (
    "<!--\nThis file is written by the virtualization daemon, which overwrites changes made here.\n"
    "Change the {word} with: virsh {edit} {name}\n-->\n\n"
)
MAX_DOCUMENT: Final = 16 * 1024 * 1024  # bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredXml:
    """A document as it lies on disk."""

    name: str  # of its file, without the end
    xml: str
    autostart: bool = False


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a kind's files are."""

    definitions: Path
    links: Path  # to what starts with the host
    status: Path  # of what runs; a boot of the host ends them


class DefinitionFiles:
    """All of one kind on disk; everything here blocks."""

    def __init__(self, kind: ObjectType, folders: Folders) -> None:
        """Make the folders.

        Raises:
            OSError: they cannot be made.
        """
        self._kind = kind
        self._folders = folders
        folders.links.mkdir(parents=True, exist_ok=True)
        folders.status.mkdir(parents=True, exist_ok=True)

    def load(self) -> list[StoredXml]:
        """Every definition; what cannot be read is left where it is, with a log line.

        Links to definitions that have gone are removed.
        """
        folder, links = self._folders.definitions, self._folders.links
        linked = {name for name in os.listdir(links) if name.endswith(".xml")}
        for file in linked:
            if not (folder / file).exists():
                log.info("%s started a %s that has gone: it is removed", file, self._kind.name)
                remove_file(links / file)
        return [
            StoredXml(name, xml, autostart=f"{name}.xml" in linked)
            for name, xml in read_xml_files(folder)
        ]

    def save(self, name: str, xml: str, *, above: str = "") -> None:
        """Write a definition; on return it survives a loss of power.

        Args:
            name: of what is defined.
            xml: its document.
            above: a comment that is to come first.

        Raises:
            OSError: nothing has changed.
        """
        comment = above + HEADER.format(
            word=self._kind.name, edit=self._kind.edit_command, name=escape_comment(name)
        )
        write_file(self._definition(name), (comment + xml).encode())

    def remove(self, name: str) -> None:
        """Remove a definition and its link; the definition first, for the link means nothing alone.

        Raises:
            OSError: it cannot be removed.
        """
        remove_file(self._definition(name))
        if self.has_autostart(name):
            self.set_autostart(name, on=False)

    def has_autostart(self, name: str) -> bool:
        """Whether there is a link that starts it with the host."""
        return os.path.lexists(self._link(name))

    def set_autostart(self, name: str, *, on: bool) -> None:
        """Make or remove the link that starts one with the host.

        Raises:
            OSError: it cannot be done.
        """
        if not on:
            remove_file(self._link(name))
            return
        with contextlib.suppress(FileExistsError):
            os.symlink(self._definition(name), self._link(name))
            sync_folder(self._folders.links)

    def _definition(self, name: str) -> Path:
        return self._folders.definitions / f"{name}.xml"

    def _link(self, name: str) -> Path:
        return self._folders.links / f"{name}.xml"

    def had_autostart(self, boot: str) -> bool:
        """Whether this boot of the host has had its autostart."""
        try:
            return self._started().read_text(encoding="utf-8").strip() == boot
        except (OSError, ValueError):
            return False

    def mark_autostarted(self, boot: str) -> None:
        """Remember that this boot of the host has had its autostart.

        Raises:
            OSError: it will have another one after the next restart.
        """
        write_file(self._started(), f"{boot}\n".encode(), durable=False)

    def _started(self) -> Path:
        return self._folders.status / "autostarted"


def read_xml_files(folder: Path) -> Iterator[tuple[str, str]]:
    """The documents of a folder by name; half-written and unreadable ones are left out."""
    try:
        files = sorted(file for file in os.listdir(folder) if file.endswith(".xml"))
    except FileNotFoundError:
        return
    for file in files:
        path = folder / file
        if path.is_dir():
            continue
        try:
            if path.stat().st_size > MAX_DOCUMENT:
                raise ValueError("it is too large")
            yield file.removesuffix(".xml"), path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            log.error("%s is left out: %s", path, error)
