"""Filter definitions on disk.

Owns: the files under etc/libvirt/nwfilter. May not touch: their meaning.
Source: libvirt 9.0's layout.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from supervisor.objects.definition_files import file_header
from supervisor.runtime.atomic_file import remove_file, sync_folder
from supervisor.runtime.document_files import read_document, write_document

log = logging.getLogger(__name__)


class FilterFiles:
    """The filters of one daemon; every method blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(self, documents: Callable[[], Mapping[str, str]]) -> bool:
        """Write the packaged filters if the folder does not exist: the first start on a host.

        They are written aside and the folder is renamed into place, so that a start that is cut
        short is repeated.

        Returns:
            Whether they were written.

        Raises:
            OSError: there is no folder, and none could be made.
        """
        if self._folder.exists():
            return False
        aside = self._folder.with_name(f".{self._folder.name}.new")
        aside.mkdir(parents=True, exist_ok=True)
        for name, xml in documents().items():
            write_document(aside / f"{name}.xml", _file_content(name, xml))
        aside.rename(self._folder)
        sync_folder(self._folder.parent)
        return True

    def load(self) -> Iterator[tuple[str, str]]:
        """Read each filter's file name and XML; unreadable files are logged."""
        for path in sorted(self._folder.glob("*.xml")):
            try:
                yield path.stem, read_document(path)
            except (OSError, ValueError) as error:
                log.warning("%s is passed over: %s", path, error)

    def save(self, name: str, xml: str) -> None:
        """Write a filter durably.

        Raises:
            OSError: nothing has changed.
        """
        write_document(self._folder / f"{name}.xml", _file_content(name, xml))

    def remove(self, name: str) -> None:
        """Remove a filter durably; a missing file is no error.

        Raises:
            OSError: it cannot be removed.
        """
        remove_file(self._folder / f"{name}.xml")


def _file_content(name: str, xml: str) -> str:
    return file_header("filter", f"nwfilter-edit {name}") + xml
