"""Definition files of domains: renaming, and reading headers alone.

Owns: the files under `etc/libvirt/qemu` (or another driver's folder).
May not touch: what definitions mean; running guests.

A host can have thousands of domains: domd reads name and UUID at its start, and parses a definition
when it is first needed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import unescape
from typing import Final
from uuid import UUID

from supervisor.objects import definition_files
from supervisor.objects.definition_files import Folders, escape_comment
from supervisor.objects.object_type import ObjectType
from supervisor.runtime.atomic_file import sync_folder
from supervisor.runtime.paths import Paths

RENAMED: Final = "<!-- renamed from: {name} -->\n"
_RENAMED_FROM: Final = re.compile(r"<!-- renamed from: ([^<>]*) -->\n")
_NAME: Final = re.compile(r"<name>([^<]*)</name>")
_UUID: Final = re.compile(r"<uuid>([^<]*)</uuid>")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DefinitionHeader:
    """The header of a definition file; the XML is parsed later."""

    name: str
    uuid: bytes
    xml: str
    autostart: bool = False
    renamed_from: str = ""  # the name before the rename that wrote this file


class DomainDefinitionFiles(definition_files.DefinitionFiles):
    """The definition files of one driver's domains; every method blocks."""

    def __init__(self, object_type: ObjectType, paths: Paths) -> None:
        """Create the folders.

        Raises:
            OSError: they cannot be created.
        """
        folders = Folders(
            definitions=paths.domain_configs(),
            links=paths.autostart(),
            status=paths.status_dir(),
            journal=paths.change_journal(paths.driver),
        )
        super().__init__(object_type, folders)
        self._moments = (paths.snapshots, paths.checkpoints)

    def load_headers(self) -> list[DefinitionHeader]:
        """Read the header of every definition; an unreadable file stays on disk and is logged.

        A rename that was interrupted is completed: the file of the old name is removed.
        """
        headers = {stored.name: stored for stored in self._read_headers()}
        for stored in list(headers.values()):
            old = headers.get(stored.renamed_from)
            if old is not None and old.uuid == stored.uuid:
                log.info("the rename of %s to %s is completed", old.name, stored.name)
                if old.autostart:
                    self.set_autostart(stored.name, on=True)
                    headers[stored.name] = replace(stored, autostart=True)
                self._move_moments(old.name, stored.name)
                self.remove(old.name)
                del headers[old.name]
        return list(headers.values())

    def _read_headers(self) -> Iterator[DefinitionHeader]:
        for stored in self.load():
            try:
                header = read_header(self._with_uuid(stored))
            except ValueError as error:
                log.error("%s.xml is left out: %s", stored.name, error)
                continue
            if header.name != stored.name:
                log.error("%s.xml is left out: it defines '%s'", stored.name, header.name)
                continue
            yield replace(header, autostart=stored.autostart)

    def _with_uuid(self, stored: definition_files.StoredXml) -> str:
        head = stored.xml.partition("<devices>")[0]
        return stored.xml if _UUID.search(head) else self.add_uuid(stored.name, stored.xml)

    def rename(self, old: str, new: str, xml: str) -> None:
        """Write a definition under its new name, then remove the old one.

        Raises:
            OSError: the old name is there after a restart.
        """
        autostart = self.has_autostart(old)
        self.save(new, xml, above=RENAMED.format(name=old) if escape_comment(old) == old else "")
        if autostart:
            self.set_autostart(new, on=True)
        self._move_moments(old, new)
        self.remove(old)

    def _move_moments(self, old: str, new: str) -> None:
        """Move the files of a domain's snapshots and checkpoints, which its name leads to."""
        for folder in self._moments:
            before, after = folder(old), folder(new)
            if before.is_dir() and not after.exists():
                before.rename(after)
                sync_folder(after.parent)


def read_header(text: str) -> DefinitionHeader:
    """Read the name and UUID of a definition file without parsing all of it.

    Raises:
        ValueError: it lacks one of them.
    """
    head = text.partition("<devices>")[0]
    name, uuid = _NAME.search(head), _UUID.search(head)
    if name is None or uuid is None:
        raise ValueError("it has no <name> or no <uuid>")
    renamed = _RENAMED_FROM.match(text)
    return DefinitionHeader(
        name=unescape(name[1]),
        uuid=UUID(uuid[1].strip()).bytes,
        xml=text,
        renamed_from=renamed[1] if renamed else "",
    )
