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
from dataclasses import dataclass, replace
from html import unescape
from typing import Final
from uuid import UUID

from supervisor.durable import remove_file, sync_folder, write_file
from supervisor.keeping import comments
from supervisor.paths import Paths

HEADER: Final = (
    "<!--\nThis file is written by the virtualization daemon, which overwrites changes made here.\n"
    "Change the domain with: virsh edit {name}\n-->\n\n"
)
RENAMED: Final = "<!-- renamed from: {name} -->\n"
_FORMER: Final = re.compile(r"<!-- renamed from: ([^<>]*) -->\n")
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
    former: str = ""  # the name that was given up when this was written


class Store:
    """The definitions of one daemon."""

    def __init__(self, paths: Paths) -> None:
        """Make the folders.

        Raises:
            OSError: they cannot be made.
        """
        self._paths = paths
        paths.autostart().mkdir(parents=True, exist_ok=True)

    def load(self) -> list[Stored]:
        """Every definition; a file that is none is left where it is, with a log line.

        What a change that was cut short has left is removed: the file under the former name of a
        renamed domain, links to definitions that have gone.
        """
        linked = {name for name in os.listdir(self._paths.autostart()) if name.endswith(".xml")}
        found = {stored.name: stored for stored in self._read_all(linked)}
        for stored in list(found.values()):
            former = found.get(stored.former)
            if former is not None and former.uuid == stored.uuid:
                log.info("%s was renamed to %s: that is finished now", former.name, stored.name)
                if former.autostart:
                    self.set_autostart(stored.name, on=True)
                    found[stored.name] = replace(stored, autostart=True)
                self.remove(former.name)
                del found[former.name]
        for file in linked:
            if not self._paths.domain_configs().joinpath(file).exists():
                log.info("%s started a domain that has gone: it is removed", file)
                remove_file(self._paths.autostart() / file)
        return list(found.values())

    def _read_all(self, linked: set[str]) -> Iterator[Stored]:
        with os.scandir(self._paths.domain_configs()) as folder:
            files = sorted(entry.name for entry in folder if entry.name.endswith(".xml"))
        for file in files:
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

    def save(self, name: str, xml: str, *, former: str = "") -> None:
        """Write a definition; on return it survives a loss of power.

        Args:
            name: the domain's.
            xml: its document.
            former: the name that it gives up; the file of that name is obsolete from now on.

        Raises:
            OSError: nothing has changed.
        """
        comment = HEADER.format(name=in_comment(name))
        if former and in_comment(former) == former:
            comment = RENAMED.format(name=former) + comment
        write_file(self._paths.domain_config(name), (comment + xml).encode())

    def remove(self, name: str) -> None:
        """Remove a definition and its link; the definition first, for the link means nothing alone.

        Raises:
            OSError: it cannot be removed.
        """
        remove_file(self._paths.domain_config(name))
        if os.path.lexists(self._paths.autostart_link(name)):
            self.set_autostart(name, on=False)

    def rename(self, old: str, new: str, xml: str) -> None:
        """Write a definition under its new name, then remove the old one.

        Raises:
            OSError: it has not been renamed, or the old name comes back after a restart.
        """
        autostart = os.path.lexists(self._paths.autostart_link(old))
        self.save(new, xml, former=old)
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

    def had_autostart(self, boot: str) -> bool:
        """Whether this boot of the host has had its autostart.

        Args:
            boot: what tells this boot from others.
        """
        try:
            return self._paths.autostarted().read_text(encoding="utf-8").strip() == boot
        except (OSError, ValueError):
            return False

    def keep_autostart(self, boot: str) -> None:
        """Remember that this boot of the host has had its autostart.

        Raises:
            OSError: it will have another one after the next restart.
        """
        self._paths.autostarted().parent.mkdir(parents=True, exist_ok=True)
        write_file(self._paths.autostarted(), f"{boot}\n".encode(), durable=False)


def in_comment(name: str) -> str:
    """A name as it can stand in the comment above a definition, which is read without a parser."""
    return comments.in_comment(name).replace("<", "").replace(">", "")


def identify(text: str, *, autostart: bool) -> Stored:
    """Find the name and UUID of a definition that we wrote, without reading all of it.

    Raises:
        ValueError: they are not there.
    """
    head = text.partition("<devices>")[0]
    name, uuid = _NAME.search(head), _UUID.search(head)
    if name is None or uuid is None:
        raise ValueError("it has no <name> or no <uuid>")
    former = _FORMER.match(text)
    return Stored(
        name=unescape(name[1]),
        uuid=UUID(uuid[1].strip()).bytes,
        xml=text,
        autostart=autostart,
        former=former[1] if former else "",
    )
