"""Definition files: one XML file per object, and a link for each that starts with the host.

Owns: the files of one object type in the folders that it is given.
May not touch: what the XML means; what the objects stand for.
Source: libvirt 9.0's layout: NAME.xml, autostart/NAME.xml.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final
from uuid import uuid4

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from supervisor.objects.change_journal import ChangeJournal
from supervisor.objects.object_type import ObjectType
from supervisor.runtime.atomic_file import make_folder, remove_file, sync_folder, write_file
from supervisor.runtime.document_files import check_size, read_document, write_document

HEADER: Final = (
    "<!--\nThis file is written by the virtualization daemon, which overwrites changes made here.\n"
    "Change the {type} with: virsh {command}\n-->\n\n"
)

_NAME_ELEMENT: Final = re.compile(r"<name>[^<]*</name>")

log = logging.getLogger(__name__)


def file_header(object_type: str, command: str) -> str:
    """Return the comment at the head of a definition file.

    Args:
        object_type: "network".
        command: of virsh, which changes the object: "net-edit NAME".
    """
    return HEADER.format(type=object_type, command=escape_comment(command))


@dataclass(frozen=True, slots=True)
class StoredXml:
    """An XML file as it is on disk."""

    name: str  # of the file, without ".xml"
    xml: str
    autostart: bool = False


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of an object type's files."""

    definitions: Path
    links: Path  # to the definitions of objects that start with the host
    status: Path  # on a tmpfs: it is empty after a boot of the host
    journal: Path  # a file: changes of definitions whose own files are not durable yet


class DefinitionFiles:
    """The definition files of one object type; every method blocks."""

    def __init__(self, object_type: ObjectType, folders: Folders) -> None:
        """Create the folders.

        Raises:
            OSError: they cannot be created.
        """
        self._type = object_type
        self._folders = folders
        self._journal = ChangeJournal(folders.definitions, folders.journal)
        make_folder(folders.links)
        folders.status.mkdir(parents=True, exist_ok=True)

    def load(self) -> list[StoredXml]:
        """Read every definition; an unreadable file stays on disk and is logged.

        Links whose definition does not exist are removed.
        """
        try:
            self._journal.recover()
        except OSError as error:
            log.error("the last changes of %ss cannot be recovered: %s", self._type.name, error)
        folder, links = self._folders.definitions, self._folders.links
        linked = {name for name in os.listdir(links) if name.endswith(".xml")}
        for file in linked:
            if not (folder / file).exists():
                log.info("autostart link %s has no %s: it is removed", file, self._type.name)
                remove_file(links / file)
        return [
            StoredXml(name, xml, autostart=f"{name}.xml" in linked)
            for name, xml in read_xml_files(folder)
        ]

    def save(self, name: str, xml: str, *, above: str = "") -> None:
        """Write a definition; on return it survives a loss of power.

        Args:
            name: of the object.
            xml: its definition.
            above: a comment that precedes the header.

        Raises:
            OSError: nothing has changed.
        """
        self._journal.settle_now()
        write_document(self._definition(name), above + self._header(name) + xml)

    def replace(
        self, name: str, xml: str, beside: Mapping[Path, str] = MappingProxyType({})
    ) -> None:
        """Replace a definition; on return it survives a loss of power.

        The file itself is durable after `settle`: the caller calls it soon; and `free_former` when
        the change has been acknowledged.

        Args:
            name: of the object.
            xml: its definition.
            beside: documents that are written with it, as by `write_beside`.

        Raises:
            OSError: nothing has changed; or the definition has, and one of the documents has not.
        """
        data = (self._header(name) + xml).encode()
        check_size(self._definition(name), data)
        self._journal.replace_all({f"{name}.xml": data, **_encoded(beside)})

    def free_former(self) -> None:
        """Give the file system back what the replaced files had: it takes longer than a change."""
        self._journal.free_former()

    def write_beside(self, documents: Mapping[Path, str]) -> None:
        """Write other documents of objects, in folders of their own, with the same durability.

        Before one of them is removed otherwise, `settle_now` has to be called.

        Args:
            documents: each with its path; the folders are made.

        Raises:
            OSError: as `ChangeJournal.replace_all`; EFBIG: one could not be read back.
        """
        self._journal.replace_all(_encoded(documents))

    def settle_now(self) -> None:
        """Make all changes durable in their own files, before some of these are removed.

        Raises:
            OSError: the disk does not take them.
        """
        self._journal.settle_now()

    def settle(self) -> bool:
        """Make the files of replaced definitions durable; False: there were more meanwhile.

        Raises:
            OSError: the disk does not take them; they survive a loss of power all the same.
        """
        return self._journal.settle()

    def _header(self, name: str) -> str:
        return file_header(self._type.name, f"{self._type.edit_command} {name}")

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name, readable or not."""
        return os.path.lexists(self._definition(name))

    def add_uuid(self, name: str, xml: str) -> str:
        """Give a definition file without <uuid> one, after its <name>; return its XML.

        libvirt does so, too: packages and administrators write files without one. The rest of the
        file stays as it is, and so does one that is no definition of this name.
        """
        try:
            root = parse_tree(xml)
        except ConfError:
            return xml  # logged where it is parsed
        match = _NAME_ELEMENT.search(xml)
        if root.findtext("uuid") or root.findtext("name") != name or match is None:
            return xml
        xml = f"{xml[: match.end()]}\n  <uuid>{uuid4()}</uuid>{xml[match.end() :]}"
        try:
            write_document(self._definition(name), xml)
        except OSError as error:
            log.error("%s.xml has no <uuid>, and none can be added: %s", name, error)
        return xml

    def remove(self, name: str) -> None:
        """Remove a definition and its link; the definition first, for a link alone starts nothing.

        Raises:
            OSError: it cannot be removed.
        """
        self._journal.settle_now()
        remove_file(self._definition(name))
        if self.has_autostart(name):
            self.set_autostart(name, on=False)

    def has_autostart(self, name: str) -> bool:
        """Return whether there is a link that starts the object with the host."""
        return os.path.lexists(self._link(name))

    def set_autostart(self, name: str, *, on: bool) -> None:
        """Create or remove the link that starts an object with the host.

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
        """Return whether autostart was done in this boot of the host.

        libvirt's own daemon leaves an empty file, on a tmpfs as ours.
        """
        try:
            return self._autostart_done().read_text(encoding="utf-8").strip() in ("", boot)
        except (OSError, ValueError):
            return False

    def mark_autostarted(self, boot: str) -> None:
        """Record that autostart was done in this boot of the host.

        Raises:
            OSError: autostart is repeated after the next restart.
        """
        write_file(self._autostart_done(), f"{boot}\n".encode(), durable=False)

    def _autostart_done(self) -> Path:
        return self._folders.status / "autostarted"


def _encoded(documents: Mapping[Path, str]) -> dict[str, bytes]:
    """Encode documents for the journal, and make their folders.

    Raises:
        OSError: a folder cannot be made; EFBIG: a document could not be read back.
    """
    encoded = {path: text.encode() for path, text in documents.items()}
    for path, data in encoded.items():
        check_size(path, data)
    for folder in {path.parent for path in documents}:
        make_folder(folder)
    return {str(path): data for path, data in encoded.items()}


def read_xml_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Read the XML files of a folder by name; unreadable ones are left out with a log line."""
    try:
        files = sorted(file for file in os.listdir(folder) if file.endswith(".xml"))
    except FileNotFoundError:
        return
    for file in files:
        path = folder / file
        if path.is_dir():
            continue
        try:
            yield file.removesuffix(".xml"), read_document(path)
        except (OSError, ValueError) as error:
            log.error("%s is left out: %s", path, error)


_TWO: Final = re.compile("-(?=-)")  # a hyphen before another one: the two would end the comment


def escape_comment(name: str) -> str:
    """Escape a name for an XML comment, which must not contain "--"."""
    return _TWO.sub("- ", name.replace("<", "").replace(">", ""))
