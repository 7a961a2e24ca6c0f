"""Definitions on disk: one file a domain, and the links that start it with the host.

Owns: the files under `etc/libvirt/qemu`.
May not touch: what definitions mean; running guests.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Final
from uuid import UUID

from supervisor.durable import remove_file, sync_folder, write_file
from supervisor.paths import Paths

HEADER: Final = (
    "<!--\nThis file is written by the virtualization daemon, which overwrites changes made here.\n"
    "Change the domain with: virsh edit {name}\n-->\n\n"
)
_NAME: Final = re.compile(r"<name>([^<]*)</name>")
_UUID: Final = re.compile(r"<uuid>([^<]*)</uuid>")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """A definition as it lies on disk; the text is read in full later."""

    name: str
    uuid: bytes
    xml: str
    autostart: bool


class Store:
    """The definitions of one daemon."""

    def __init__(self, paths: Paths) -> None:
        """Make the folders.

        Raises:
            OSError: they cannot be made.
        """
        self._paths = paths
        paths.autostart().mkdir(parents=True, exist_ok=True)

    def load(self) -> Iterator[Stored]:
        """Every definition; a file that is none is left where it is, with a log line."""
        linked = set(os.listdir(self._paths.autostart()))
        with os.scandir(self._paths.domain_configs()) as folder:
            files = sorted(entry.name for entry in folder if entry.name.endswith(".xml"))
        for file in files:
            if file.startswith("."):
                continue  # left by a write that was cut short: what it replaced is still there
            try:
                text = (self._paths.domain_configs() / file).read_text(encoding="utf-8")
                stored = identify(text, autostart=file in linked)
            except (OSError, ValueError) as problem:
                log.error("%s is left out: %s", self._paths.domain_configs() / file, problem)
                continue
            if f"{stored.name}.xml" != file:
                log.error("%s is left out: it defines '%s'", file, stored.name)
                continue
            yield stored

    def save(self, name: str, xml: str) -> None:
        """Write a definition; on return it survives a loss of power.

        Raises:
            OSError: nothing has changed.
        """
        comment = HEADER.format(name=name.replace("--", "- -"))
        write_file(self._paths.domain_config(name), (comment + xml).encode())

    def remove(self, name: str) -> None:
        """Remove a definition and its link.

        Raises:
            OSError: it cannot be removed.
        """
        self.set_autostart(name, on=False)
        remove_file(self._paths.domain_config(name))

    def rename(self, old: str, new: str, xml: str) -> None:
        """Write a definition under its new name, then remove the old one.

        Raises:
            OSError: the old one is still there.
        """
        autostart = os.path.lexists(self._paths.autostart_link(old))
        self.save(new, xml)
        if autostart:
            self.set_autostart(new, on=True)
        self.remove(old)

    def set_autostart(self, name: str, *, on: bool) -> None:
        """Make or remove the link that starts the domain with the host.

        Raises:
            OSError: it cannot be done.
        """
        link = self._paths.autostart_link(name)
        if on:
            with contextlib.suppress(FileExistsError):
                os.symlink(self._paths.domain_config(name), link)
                sync_folder(link.parent)
        else:
            remove_file(link)

    def first_autostart(self) -> bool:
        """Whether this boot of the host has had no autostart yet; it counts as had from now on."""
        mark = self._paths.autostarted()
        try:
            mark.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        return True

    def nvram(self, name: str) -> Path:
        """The file of a domain's firmware variables."""
        return self._paths.nvram(name)


def identify(text: str, *, autostart: bool) -> Stored:
    """Find the name and UUID of a definition that we wrote, without reading all of it.

    Raises:
        ValueError: they are not there.
    """
    head = text.partition("<devices>")[0]
    name, uuid = _NAME.search(head), _UUID.search(head)
    if name is None or uuid is None:
        raise ValueError("it has no <name> or no <uuid>")
    return Stored(unescape(name[1]), UUID(uuid[1]).bytes, text, autostart)
