"""Status files: beside an object type's definitions, the state of its active objects.

Owns: the status files; the mark of the first start.
May not touch: what the XML means; what the objects stand for.
Source: libvirt 9.0's layout; run: NAME.xml.

A loss of power ends every active object, so a status file is not synced to the disk.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from supervisor.objects.definition_files import (
    DefinitionFiles,
    Folders,
    StoredXml,
    read_xml_files,
)
from supervisor.objects.object_type import ObjectType
from supervisor.runtime.atomic_file import write_file


class StatusFiles(DefinitionFiles):
    """The definition and status files of one object type; every method blocks."""

    def __init__(self, object_type: ObjectType, folders: Folders, mark: Path) -> None:
        """Create the folders.

        Args:
            object_type: of the objects.
            folders: of their files.
            mark: the file that exists once the default object was defined.

        Raises:
            OSError: they cannot be created.
        """
        super().__init__(object_type, folders)
        self._mark = mark

    def is_first_start(self) -> bool:
        """Return whether no daemon has defined the default object here."""
        return not self._mark.exists()

    def mark_initialised(self) -> None:
        """Record that the default object was defined once.

        Raises:
            OSError: it is defined again after a restart.
        """
        self._mark.parent.mkdir(parents=True, exist_ok=True)
        write_file(self._mark, f"the {self._type.name} 'default' was defined once\n".encode())

    def load_status(self) -> list[StoredXml]:
        """Read the status file of every active object."""
        return [StoredXml(name, xml) for name, xml in read_xml_files(self._folders.status)]

    def save_status(self, name: str, xml: str) -> None:
        """Write the status of an active object.

        Raises:
            OSError: nothing has changed.
        """
        write_file(self._status(name), xml.encode(), durable=False)

    def remove_status(self, name: str) -> None:
        """Remove the status of an object that has become inactive.

        Raises:
            OSError: it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._status(name))

    def _status(self, name: str) -> Path:
        return self._folders.status / f"{name}.xml"
