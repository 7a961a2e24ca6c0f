"""Definitions of host interfaces on disk, and their copy for change_rollback.

Owns: the files under `etc/libvirt/virtvisor/interfaces`, one an interface, and under
`interfaces.before` their copy from the beginning of the change. Every method blocks.
May not touch: links.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from conf.errors import ConfError
from conf.interface import HostInterface, format_interface, parse_interface
from supervisor.runtime.atomic_file import remove_file, sync_folder
from supervisor.runtime.document_files import write_document

log = logging.getLogger(__name__)


class InterfaceFiles:
    """The definitions of one host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._previous = folder.with_name(f"{folder.name}.before")
        self._partial = folder.with_name(f"{folder.name}.half")

    def load(self) -> dict[str, HostInterface]:
        """Read the definitions by name; invalid files are logged and left alone."""
        return _load(self._folder)

    def save(self, interface: HostInterface) -> None:
        """Write a definition durably.

        Raises:
            OSError: nothing has changed.
        """
        text = format_interface(interface, inactive=True)
        write_document(self._folder / f"{interface.known_name}.xml", text)

    def remove(self, name: str) -> None:
        """Remove a definition.

        Raises:
            OSError: it cannot be removed.
        """
        remove_file(self._folder / f"{name}.xml")

    # A change that can be taken back.

    def is_changing(self) -> bool:
        """Return whether a change has begun."""
        return self._previous.is_dir()

    def change_begin(self) -> None:
        """Copy all definitions, atomically.

        Raises:
            OSError: no change has begun.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._partial, ignore_errors=True)
        shutil.copytree(self._folder, self._partial)
        os.rename(self._partial, self._previous)
        sync_folder(self._previous.parent)

    def load_previous(self) -> dict[str, HostInterface]:
        """Read the definitions as they were when the change began."""
        return _load(self._previous)

    def change_commit(self) -> None:
        """Delete the copy.

        Raises:
            OSError: the change goes on.
        """
        shutil.rmtree(self._partial, ignore_errors=True)
        os.rename(self._previous, self._partial)
        shutil.rmtree(self._partial, ignore_errors=True)
        sync_folder(self._previous.parent)


def _load(folder: Path) -> dict[str, HostInterface]:
    definitions: dict[str, HostInterface] = {}
    try:
        files = sorted(name for name in os.listdir(folder) if name.endswith(".xml"))
    except FileNotFoundError:
        return definitions
    for file in files:
        if file.startswith("."):
            continue
        try:
            interface = parse_interface((folder / file).read_bytes())
        except (OSError, ConfError) as error:
            log.error("%s is left out: %s", folder / file, error)
            continue
        if f"{interface.known_name}.xml" == file:
            definitions[interface.known_name] = interface
    return definitions
