"""LimitFiles: open files of running guests' cgroups, from which domd reads limits itself.

Owns: those descriptors. May touch: those files, to read. May not touch: guests, their groups.

A worker passes the files on when it is first asked for a guest's limits: a client that asks again,
as bindings do before each change, is answered without the worker. A group that is gone refuses to
be read (ENODEV), and then the worker is asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from supervisor.domd.domain import DomainObject
from supervisor.messages.worker import LimitFile, Tuning

MAX_GUESTS: Final = 64  # that were asked for last
VALUE_BYTES: Final = 128  # of a file
UNLIMITED: Final = -1


@dataclass(slots=True)
class _GuestFiles:
    """The files of one guest."""

    xml_version: int  # of the guest: another one may have other threads
    constant: dict[str, int]  # parameters of threads that it has not
    files: list[LimitFile]


class LimitFiles:
    """The files of one driver's guests."""

    def __init__(self) -> None:
        self._guests: dict[bytes, _GuestFiles] = {}

    def keep(self, domain: DomainObject, tuning: Tuning) -> None:
        """Take over the files that came with a guest's limits."""
        self._guests.pop(domain.uuid, None)
        if domain.runtime is None or not tuning.files:
            return
        if len(self._guests) >= MAX_GUESTS:
            del self._guests[next(iter(self._guests))]
        in_files = {field for file in tuning.files for field in file.fields}
        constant = {
            each.field: int(each.value) for each in tuning.statistics if each.field not in in_files
        }
        version = domain.runtime.status.xml_version
        self._guests[domain.uuid] = _GuestFiles(version, constant, tuning.files)

    def read(self, domain: DomainObject) -> dict[str, int] | None:
        """Read a guest's limits from the kernel, by parameter; None: its worker has to be asked."""
        guest = self._guests.get(domain.uuid)
        if guest is None:
            return None
        runtime = domain.runtime
        if runtime is not None and runtime.status.xml_version == guest.xml_version:
            try:
                return dict(guest.constant) | _read(guest.files)
            except (OSError, ValueError):
                pass  # another guest of the same domain runs, or its group has been replaced
        del self._guests[domain.uuid]
        return None

    def limits_changed(self, domain: DomainObject, before: int) -> None:
        """Keep the files over a change of no more than limits.

        Args:
            domain: whose guest has changed.
            before: the version of its live XML before the change.
        """
        guest = self._guests.get(domain.uuid)
        if guest is not None and guest.xml_version == before and domain.runtime is not None:
            guest.xml_version = domain.runtime.status.xml_version


def _read(files: list[LimitFile]) -> dict[str, int]:
    """Read the values of files.

    Raises:
        OSError: a group is gone. ValueError: a file has something else in it.
    """
    values = {}
    for file in files:
        words = os.pread(file.file.fileno(), VALUE_BYTES, 0).split()
        for field, word in zip(file.fields, words, strict=True):
            values[field] = UNLIMITED if word == b"max" else int(word)
    return values
