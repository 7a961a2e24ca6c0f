"""ChangeJournal: changes of definition files that are durable before the files are.

Owns: one file. May touch: the files that it names, to make them durable: those of a folder, and
others that belong to the same objects, such as the descriptions of their snapshots.
May not touch: what the files mean.

To replace a file durably takes two commits of the file system's journal: of the new file, and of
its name. A change of a definition is a single write to blocks that this file has already, which
takes a fraction of that; the definition's own file is replaced without a wait, and made durable a
moment later. After a loss of power `recover` writes what the folder may have lost. Within one boot
of the host it writes those files alone that a change of several had not come to when its process
died, for they are older than the change: all others are as they were left, by us or their editor.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervisor.runtime.atomic_file import make_folder, swap_file, sync_folder, write_file
from supervisor.runtime.host import boot_id

SIZE: Final = 1 << 20
BLOCK: Final = 4096  # of records: an interrupted write of one damages no other
MODE: Final = 0o600
MAX_FORMER: Final = 64  # descriptors

_MAGIC: Final = b"vvchange"
#: Magic, epoch, time, bytes of the boot's id, of the file's name and of its contents, checksum.
_RECORD: Final = struct.Struct("<8sQQHHII")
CLOCK_REALTIME_COARSE: Final = 5  # of the times of files: one written later is not older by it
#: From a change to its file's own time, at most; who is later than that has edited the file.
WRITTEN_NS: Final = 10 * 10**9

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """A file's new contents."""

    boot: str  # the boot of the host in which it was changed
    name: str
    data: bytes
    time_ns: int = 0  # since the epoch


class ChangeJournal:
    """The journal of one folder; every method blocks, and any thread may call it."""

    def __init__(self, folder: Path, file: Path) -> None:
        """Describe it; nothing is read or made.

        Args:
            folder: whose files change.
            file: the journal; its folder is made at the first change.
        """
        self._folder = folder
        self._file = file
        self._lock = threading.Lock()
        self._fd = -1
        self._epoch = 0
        self._end = BLOCK  # where the next record is written
        self._unsettled: set[str] = set()  # of which there is a record
        self._unsynced: dict[str, int] = {}  # of these, and the number of the last change
        self._changes = 0  # counts `replace_all`
        self._former: list[int] = []  # descriptors of files that were replaced (`free_former`)

    def replace(self, name: str, data: bytes) -> None:
        """Replace a file of the folder; on return the change survives a loss of power.

        `free_former` is to be called when the change has been acknowledged.

        Args:
            name: of the file, which exists.
            data: its contents.

        Raises:
            OSError: nothing has changed.
        """
        self.replace_all({name: data})

    def replace_all(self, files: Mapping[str, bytes]) -> None:
        """Replace files, or make them; on return the changes survive a loss of power.

        A loss of power meanwhile leaves the first of them, or none.

        Args:
            files: their contents by their names; a path: a file of another folder, which exists.

        Raises:
            OSError: those before the one that it names have changed.
        """
        self.free_former()  # of a change after which nobody did
        with self._lock:
            self._changes += 1
            in_journal = self._is_open() and self._append(files)
            try:
                for name, data in files.items():
                    path = self._folder / name
                    if in_journal:
                        self._swap(path, data)
                    else:
                        write_file(path, data, mode=MODE)
            except OSError:
                if in_journal:
                    self._settle_now()  # or a loss of power would bring the refused change
                raise

    def free_former(self) -> None:
        """Give the file system back what the replaced files had."""
        with self._lock:
            former, self._former = self._former, []
        for fd in former:
            os.close(fd)

    def settle(self) -> bool:
        """Make the files durable, and forget their changes.

        Returns:
            Whether none is left: False, if there were changes meanwhile.

        Raises:
            OSError: the disk does not take them; the journal has them still.
        """
        self.free_former()  # of changes after which nobody did
        with self._lock:
            if not self._unsettled:
                return True
            unsynced = dict(self._unsynced)
        self._sync(unsynced)
        with self._lock:
            # Where changes keep coming, a file is synced once, and not each time with all others.
            for name, change in unsynced.items():
                if self._unsynced.get(name) == change:
                    del self._unsynced[name]
            if self._unsettled and not self._unsynced:
                self._begin_epoch()
            return not self._unsettled

    def settle_now(self) -> None:
        """Settle, while no change can begin: before files of the folder are changed otherwise.

        Raises:
            OSError: as `settle`.
        """
        with self._lock:
            self._settle_now()

    def recover(self) -> None:
        """Write what a loss of power may have taken; call it before the folder's files are read.

        Raises:
            OSError: the disk does not take it; the journal has it still.
        """
        with self._lock:
            if not self._file.exists():
                return
            if self._fd < 0:
                self._open()
            for change in self._read():
                self._unsettled.add(change.name)
                self._unsynced[change.name] = self._changes
                path = self._folder / change.name
                if change.boot == boot_id():
                    if _was_not_reached(path, change):
                        log.warning("%s is written: a process died before", path)
                        write_file(path, change.data, mode=MODE)
                elif path.parent.is_dir() and _has_lost(path, change):
                    log.warning("%s is written again: the host lost power", path)
                    write_file(path, change.data, mode=MODE)
            self._settle_now()

    def close(self) -> None:
        """Close the file."""
        self.free_former()
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _is_open(self) -> bool:
        """Open the journal at the first change; whether there is one."""
        try:
            if self._fd < 0:
                self._open()
        except OSError as error:
            log.debug("changes in %s have no journal: %s", self._folder, error)
        return self._fd >= 0

    def _append(self, files: Mapping[str, bytes]) -> bool:
        """Write records at once; False: they are larger than any journal, which is empty now."""
        boot, now = boot_id(), time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
        changes = [Change(boot, name, data, now) for name, data in files.items()]
        records = _in_blocks(self._epoch, changes)
        if self._end + len(records) > SIZE:
            self._settle_now()
            records = _in_blocks(self._epoch, changes)  # of the epoch that has begun by now
        if self._end + len(records) > SIZE:
            return False
        self._unsettled.update(files)
        self._unsynced.update(dict.fromkeys(files, self._changes))
        try:
            self._write(records, self._end)
        except OSError:
            self._settle_now()  # a part of it may be there
            raise
        self._end += len(records)
        return True

    def _swap(self, path: Path, data: bytes) -> None:
        former = swap_file(path, data, mode=MODE)
        if former >= 0 and len(self._former) < MAX_FORMER:
            self._former.append(former)
        elif former >= 0:
            os.close(former)

    def _settle_now(self) -> None:
        if self._unsettled:
            self._sync(self._unsynced)
            self._begin_epoch()

    def _sync(self, names: Iterable[str]) -> None:
        names = list(names)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        for folder in {(self._folder / name).parent for name in names}:
            with contextlib.suppress(FileNotFoundError):
                sync_folder(folder)

    def _begin_epoch(self) -> None:
        """Make every record one of the past; on return that survives a loss of power."""
        self._write(_format(self._epoch + 1, Change("", "", b"")), 0)
        self._epoch += 1
        self._end = BLOCK
        self._unsettled.clear()
        self._unsynced.clear()

    def _open(self) -> None:
        make_folder(self._file.parent, mode=0o700)
        fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        try:
            header = next(_records(os.pread(fd, BLOCK, 0)), None)
            if os.fstat(fd).st_size != SIZE or header is None:
                # A damaged header was being written when all files were durable: nothing is lost,
                # and no record of a former epoch may be taken for one of the first.
                self._fill(fd)
                header = (0, Change("", "", b""))
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        self._epoch = header[0]

    def _fill(self, fd: int) -> None:
        """Make an empty journal of the file."""
        os.ftruncate(fd, 0)
        # Zeros are written: the first write to blocks that are only reserved would wait for the
        # file system's journal, too.
        _write_all(fd, bytes(SIZE), 0)
        os.fsync(fd)
        _write_all(fd, _format(0, Change("", "", b"")), 0, os.RWF_DSYNC)
        sync_folder(self._file.parent)

    def _read(self) -> Iterator[Change]:
        data = os.pread(self._fd, SIZE, 0)[BLOCK:]
        for epoch, change in _records(data):
            if epoch != self._epoch:
                return
            yield change

    def _write(self, data: bytes, offset: int) -> None:
        _write_all(self._fd, data, offset, os.RWF_DSYNC)


def _has_lost(path: Path, change: Change) -> bool:
    """Return whether a file lacks a change that was made to it in another boot.

    One that was written later has been edited since, by libvirt's daemon or an administrator.
    """
    try:
        is_later = path.stat().st_mtime_ns > change.time_ns + WRITTEN_NS
        return not is_later and path.read_bytes() != change.data
    except OSError:
        return True


def _was_not_reached(path: Path, change: Change) -> bool:
    """Return whether a file is still what it was before a change of this boot.

    One that is missing has been removed since, or was to be made for somebody who got no reply.
    """
    try:
        is_older = path.stat().st_mtime_ns < change.time_ns
        return is_older and path.read_bytes() != change.data
    except OSError:
        return False


def _write_all(fd: int, data: bytes, offset: int, flags: int = 0) -> None:
    left = memoryview(data)
    while left:
        written = os.pwritev(fd, [left], offset, flags)
        left, offset = left[written:], offset + written


def _format(epoch: int, change: Change) -> bytes:
    boot, name = change.boot.encode(), os.fsencode(change.name)
    body = boot + name + change.data
    fields = (_MAGIC, epoch, change.time_ns, len(boot), len(name), len(change.data))
    checksum = zlib.crc32(_RECORD.pack(*fields, 0) + body)
    return _RECORD.pack(*fields, checksum) + body


def _in_blocks(epoch: int, changes: Iterable[Change]) -> bytes:
    records = (_format(epoch, change) for change in changes)
    return b"".join(record + bytes(-len(record) % BLOCK) for record in records)


def _records(data: bytes) -> Iterator[tuple[int, Change]]:
    """Read records from the first block on, up to one that is not whole."""
    offset = 0
    while offset + _RECORD.size <= len(data):
        magic, epoch, at, boot, name, size, checksum = _RECORD.unpack_from(data, offset)
        begin = offset + _RECORD.size
        end = begin + boot + name + size
        if magic != _MAGIC or end > len(data):
            return
        body = data[begin:end]
        if zlib.crc32(_RECORD.pack(magic, epoch, at, boot, name, size, 0) + body) != checksum:
            return
        text = os.fsdecode(body[boot : boot + name])
        yield epoch, Change(body[:boot].decode("ascii", "replace"), text, body[boot + name :], at)
        offset += -(-(end - offset) // BLOCK) * BLOCK
