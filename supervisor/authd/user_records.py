"""Records of users that were read from sasldb, kept until its file changes.

Owns: the records in memory, and how many there are.
May touch: the file's status. May not touch: its contents (libsasl2 reads them).

libsasl2 opens the database anew for each property of each user, which takes longer than all of
DIGEST-MD5; and it derives SCRAM's keys anew from the password at each connection.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_RECORDS: Final = 256
MAX_KEY: Final = 256  # bytes of a user's name or a realm: what is longer is not kept
#: A file that changed so lately may change again without another time: the kernel's clock of files
#: ticks every few milliseconds.
SETTLED_S: Final = 2.0

Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class RecordKey:
    """What was asked: of whom, and which properties."""

    user: bytes
    realm: bytes
    host: bytes  # the realm of a user who names none
    flags: int
    properties: tuple[bytes, ...]
    scheme: bytes  # of SCRAM's keys that were derived; b"": none


@dataclass(frozen=True, slots=True)
class UserRecord:
    """What was found: properties that the user has, and their values."""

    values: tuple[tuple[bytes, bytes], ...]

    def __repr__(self) -> str:
        """Name the properties; never their values, which are secrets."""
        return f"UserRecord({', '.join(name.decode(errors='replace') for name, _ in self.values)})"


class UserRecords:
    """The records of one database; for several threads."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        """Keep none yet.

        Args:
            path: of the database.
            now: the clock of its file system, in seconds.
        """
        self._path = path
        self._now = now
        self._records: OrderedDict[RecordKey, UserRecord] = OrderedDict()
        self._stamp: Stamp | None = None  # of the file when they were read
        self._lock = threading.Lock()

    def stamp(self) -> Stamp | None:
        """Tell the file as it is now from what it was and will be; None: it cannot be told."""
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        # A change in the future is one of a clock that was set: no later one is told from it.
        if self._now() * 1e9 - changed < SETTLED_S * 1e9:
            return None
        return (
            *(status.st_dev, status.st_ino, status.st_size),
            *(status.st_mtime_ns, status.st_ctime_ns),
        )

    def find(self, key: RecordKey) -> UserRecord | None:
        """Return the record if it is known and the file has not changed since it was read."""
        stamp = self.stamp()
        with self._lock:
            if stamp is None or stamp != self._stamp:
                self._records.clear()
                return None
            record = self._records.get(key)
            if record is not None:
                self._records.move_to_end(key)
            return record

    def keep(self, key: RecordKey, record: UserRecord, before: Stamp | None) -> None:
        """Keep a record that was read; the one that was not asked for the longest may go.

        Args:
            key: what was asked.
            record: what was found.
            before: the file's stamp before it was read; if it has changed since, nothing is kept.
        """
        if before is None or max(len(key.user), len(key.realm)) > MAX_KEY:
            return
        if self.stamp() != before:
            return
        with self._lock:
            if self._stamp != before:
                self._records.clear()
                self._stamp = before
            self._records[key] = record
            if len(self._records) > MAX_RECORDS:
                self._records.popitem(last=False)

    def __len__(self) -> int:
        """Return how many records are kept."""
        return len(self._records)
