"""Domains on disk: their new names, and what of them is read at once.

Owns: the files under `etc/libvirt/qemu` (or another driver's folder).
May not touch: what definitions mean; running guests.
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
from supervisor.objects.definition_files import Folders
from supervisor.objects.object_type import ObjectType
from supervisor.objects.xml_comments import escape_comment
from supervisor.runtime.paths import Paths

RENAMED: Final = "<!-- renamed from: {name} -->\n"
_FORMER: Final = re.compile(r"<!-- renamed from: ([^<>]*) -->\n")
_NAME: Final = re.compile(r"<name>([^<]*)</name>")
_UUID: Final = re.compile(r"<uuid>([^<]*)</uuid>")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DefinitionHeader:
    """A definition as it lies on disk; the text is read in full later."""

    name: str
    uuid: bytes
    xml: str
    autostart: bool = False
    renamed_from: str = ""  # the name that was given up when this was written


class DomainDefinitionFiles(definition_files.DefinitionFiles):
    """The domains of one driver on disk; everything here blocks."""

    def __init__(self, object_type: ObjectType, paths: Paths) -> None:
        """Make the folders.

        Raises:
            OSError: they cannot be made.
        """
        folders = Folders(paths.domain_configs(), paths.autostart(), paths.status_dir())
        super().__init__(object_type, folders)

    def load_headers(self) -> list[DefinitionHeader]:
        """Every definition; a file that is none is left where it is, with a log line.

        What a change of name that was cut short has left goes: the file of the former name.
        """
        found = {stored.name: stored for stored in self._identify_all()}
        for stored in list(found.values()):
            former = found.get(stored.renamed_from)
            if former is not None and former.uuid == stored.uuid:
                log.info("%s was renamed to %s: that is finished now", former.name, stored.name)
                if former.autostart:
                    self.set_autostart(stored.name, on=True)
                    found[stored.name] = replace(stored, autostart=True)
                self.remove(former.name)
                del found[former.name]
        return list(found.values())

    def _identify_all(self) -> Iterator[DefinitionHeader]:
        for stored in self.load():
            try:
                identified = read_header(stored.xml)
            except ValueError as error:
                log.error("%s.xml is left out: %s", stored.name, error)
                continue
            if identified.name != stored.name:
                log.error("%s.xml is left out: it defines '%s'", stored.name, identified.name)
                continue
            yield replace(identified, autostart=stored.autostart)

    def rename(self, old: str, new: str, xml: str) -> None:
        """Write a definition under its new name, then remove the old one.

        Raises:
            OSError: it has not been renamed, or the old name comes back after a restart.
        """
        autostart = self.has_autostart(old)
        self.save(new, xml, above=RENAMED.format(name=old) if escape_comment(old) == old else "")
        if autostart:
            self.set_autostart(new, on=True)
        self.remove(old)


def read_header(text: str) -> DefinitionHeader:
    """Find the name and UUID of a definition that we wrote, without reading all of it.

    Raises:
        ValueError: they are not there.
    """
    head = text.partition("<devices>")[0]
    name, uuid = _NAME.search(head), _UUID.search(head)
    if name is None or uuid is None:
        raise ValueError("it has no <name> or no <uuid>")
    former = _FORMER.match(text)
    return DefinitionHeader(
        name=unescape(name[1]),
        uuid=UUID(uuid[1].strip()).bytes,
        xml=text,
        renamed_from=former[1] if former else "",
    )
