"""The pipes on disk: a FIFO for each, and a record of the file that it is written to.

Owns: run/libvirt/logd. May not touch: the files that are written.

They are named pipes so that the next logd finds them: it opens the reading end again by name, and
what waits in the pipe is still there, as a writer has it open. Only root may enter the folder.
"""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from supervisor.runtime.atomic_file import write_file

READING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
WRITING: Final = os.O_WRONLY | os.O_CLOEXEC  # it does not wait, as there is a reader

log = logging.getLogger(__name__)


class LogRecord(msgspec.Struct, frozen=True):
    """What a pipe is for."""

    domain: str
    path: str


@dataclass(frozen=True, slots=True)
class NamedPipe:
    """A pipe, whose reading end is open."""

    key: str
    record: LogRecord
    reader: int


class Records:
    """The folder of the pipes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make_folder(self) -> None:
        """Make the folder, which only the daemon's user may enter.

        Raises:
            OSError: it cannot be made.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, record: LogRecord) -> tuple[NamedPipe, int]:
        """Create a pipe; it and its writing end.

        Raises:
            OSError: nothing is left of it.
        """
        key = uuid.uuid4().hex
        with contextlib.ExitStack() as undo:
            undo.callback(self.remove, key)
            os.mkfifo(self._fifo(key), 0o600)
            reader = os.open(self._fifo(key), READING)
            undo.callback(os.close, reader)
            writer = os.open(self._fifo(key), WRITING)
            undo.callback(os.close, writer)
            write_file(self._record(key), msgspec.json.encode(record), durable=False)
            undo.pop_all()
        return NamedPipe(key, record, reader), writer

    def open_all(self, known: frozenset[str] = frozenset()) -> Iterator[NamedPipe]:
        """Open the pipes that a previous logd has left, but for the known ones."""
        for file in sorted(self._folder.glob("*.json")):
            if file.stem in known:
                continue
            try:
                record = msgspec.json.decode(file.read_bytes(), type=LogRecord)
                yield NamedPipe(file.stem, record, os.open(self._fifo(file.stem), READING))
            except (OSError, msgspec.DecodeError) as error:
                log.warning("the pipe of %s is not there any more: %s", file, error)
                self.remove(file.stem)

    def remove(self, key: str) -> None:
        """Remove a pipe's names; its ends stay open."""
        for path in (self._record(key), self._fifo(key)):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def remove_orphans(self) -> None:
        """Remove the pipes without a record, whose logd died while it made them."""
        for fifo in self._folder.glob("*.fifo"):
            if not self._record(fifo.stem).exists():
                self.remove(fifo.stem)

    def _fifo(self, key: str) -> Path:
        return self._folder / f"{key}.fifo"

    def _record(self, key: str) -> Path:
        return self._folder / f"{key}.json"
