"""One kind on disk whose keeper also runs it: beside definitions, the state of what runs.

Owns: the status documents in the folder of states; the mark of the first start.
May not touch: what documents mean; what they are about.
Source: libvirt 9.0's layout; run: NAME.xml.

A loss of power ends what runs, so the disk is not waited for.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from supervisor.objects import definition_files
from supervisor.objects.definition_files import Folders, StoredXml, read_xml_files
from supervisor.objects.object_type import ObjectType
from supervisor.runtime.atomic_file import write_file


class StatusFiles(definition_files.DefinitionFiles):
    """All of one kind on disk; everything here blocks."""

    def __init__(self, kind: ObjectType, folders: Folders, mark: Path) -> None:
        """Make the folders.

        Args:
            kind: what is kept.
            folders: where.
            mark: the file that says that the stock definition was made once.

        Raises:
            OSError: they cannot be made.
        """
        super().__init__(kind, folders)
        self._mark = mark

    def is_first_start(self) -> bool:
        """Whether no daemon has ever looked after this kind here."""
        return not self._mark.exists()

    def mark_initialised(self) -> None:
        """Remember that there was one.

        Raises:
            OSError: the stock definition is made again after a restart.
        """
        self._mark.parent.mkdir(parents=True, exist_ok=True)
        write_file(self._mark, f"the {self._kind.name} 'default' was defined once\n".encode())

    def load_status(self) -> list[StoredXml]:
        """The status document of everything that runs."""
        return [StoredXml(name, xml) for name, xml in read_xml_files(self._folders.status)]

    def save_status(self, name: str, xml: str) -> None:
        """Write what is known of one that runs.

        Raises:
            OSError: nothing has changed.
        """
        write_file(self._state(name), xml.encode(), durable=False)

    def remove_status(self, name: str) -> None:
        """Forget one that has stopped.

        Raises:
            OSError: it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._state(name))

    def _state(self, name: str) -> Path:
        return self._folders.status / f"{name}.xml"
