"""Who owned the files of running guests, and which guests use each: the last one gives it back.

Owns: run/libvirt/DRIVER/owners, a record for each file. May not touch: the files themselves.

Guests share files: kernels, the images below their overlays. The first guest remembers the owner,
the last one restores it. A record is written before the owner is changed, so that a worker which is
killed between the two loses nothing.

Source: libvirt 9.0, qemu.conf "remember_owner", which keeps owner and count in extended attributes;
there a shared image stays QEMU's for good, as its count may be wrong. Here that holds only for
files that other hosts' guests may use, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import Owner
from supervisor.runtime.atomic_file import write_file
from supervisor.runtime.emulator_user import User

LOCK_S: Final = 2.0  # another worker holds it for less than a millisecond
RETRY_S: Final = 0.002
MOUNTS: Final = Path("/proc/self/mountinfo")
#: File systems that several hosts mount at once. Source: libvirt 9.0, virFileIsSharedFSType.
SHARED_FILE_SYSTEMS: Final = frozenset(
    {
        *("nfs", "nfs4", "gfs2", "ocfs2", "afs", "smb3", "cifs", "ceph", "gpfs"),
        *("fuse.glusterfs", "fuse.quobyte", "fuse.ceph", "lustre"),
    }
)


class Record(msgspec.Struct, kw_only=True):
    """A file that running guests use."""

    owner: Owner
    users: list[str]  # names of domains


class PreviousOwners:
    """The records, for the worker of one domain."""

    def __init__(
        self,
        folder: Path,
        domain: str,
        is_active: Callable[[str], bool],
        *,
        remembers: bool = True,
    ) -> None:
        """Describe where they are.

        Args:
            folder: of the records.
            domain: the name of this worker's.
            is_active: whether a domain of that name runs; records may name others, whose files
                were lost with a worker.
            remembers: whether owners are restored; else files become root's (remember_owner = 0).
        """
        self._remembers = remembers
        self._folder = folder
        self._domain = domain
        self._is_active = is_active

    async def take(
        self, path: str, status: os.stat_result, user: User, *, shared: bool
    ) -> Owner | None:
        """Note that this domain uses a file, before its owner is changed.

        Returns:
            The owner to restore; None: it is to stay as it is.

        Raises:
            OSError: the record cannot be written; ETIMEDOUT: another worker holds the records.
            VirError: OPERATION_INVALID: it is another guest's, whose QEMU has another user.
        """
        is_users = (status.st_uid, status.st_gid) == (user.uid, user.gid)
        async with self._locked():
            record = self._read(path)
            if record is not None and _names(record.owner, status):
                others = self._others(record)
                owner = record.owner
                if others and not shared and not is_users:
                    raise already_in_use(path)
            else:
                if is_users and self._remembers:
                    return None
                if shared and is_shared_file_system(status.st_dev):
                    return None
                others = []
                before = (status.st_uid, status.st_gid) if self._remembers else (0, 0)
                mode = stat.S_IMODE(status.st_mode) if narrows(status, user) else 0
                owner = Owner(path, *before, status.st_dev, status.st_ino, mode)
            self._write(path, Record(owner=owner, users=[*others, self._domain]))
        return owner

    async def take_shared(self, path: str, status: os.stat_result, user: User) -> Owner:
        """Note that this domain's user is let open a file that guests share.

        Raises:
            OSError: as `take`.
        """
        owner = Owner(
            path,
            *(status.st_uid, status.st_gid, status.st_dev, status.st_ino),
            grantee=user.uid,
        )
        async with self._locked():
            self._write(path, Record(owner=owner, users=[self._domain]))
        return owner

    async def adopt(self, owner: Owner) -> None:
        """Note that this domain uses a file whose owner another daemon has changed.

        Raises:
            OSError: the record cannot be written.
        """
        async with self._locked():
            record = self._read(owner.path)
            others = self._others(record) if record is not None else []
            self._write(owner.path, Record(owner=owner, users=[*others, self._domain]))

    async def release(self, owner: Owner) -> bool:
        """Note that this domain does not use a file any more; whether it is to be restored.

        Raises:
            OSError: the records cannot be changed; ETIMEDOUT as `take`.
        """
        async with self._locked():
            record = self._read(owner.path, owner.grantee)
            if record is None or record.owner != owner:
                return True  # of an earlier version, or of a lost /run
            others = self._others(record)
            if others:
                self._write(owner.path, Record(owner=owner, users=others))
            else:
                self._file(owner.path, owner.grantee).unlink(missing_ok=True)
            return not others

    def own(self) -> list[Owner]:
        """List what this domain uses, for a worker whose predecessor died at a start."""
        records = (self._load(file) for file in self._folder.glob("*.json"))
        return [record.owner for record in records if record and self._domain in record.users]

    def _others(self, record: Record) -> list[str]:
        return [name for name in record.users if name != self._domain and self._is_active(name)]

    def _file(self, path: str, grantee: int = 0) -> Path:
        key = os.fsencode(path) + (b"\0%d" % grantee if grantee else b"")
        return self._folder / f"{hashlib.sha256(key).hexdigest()[:32]}.json"

    def _read(self, path: str, grantee: int = 0) -> Record | None:
        return self._load(self._file(path, grantee))

    def _load(self, file: Path) -> Record | None:
        try:
            return msgspec.json.decode(file.read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _write(self, path: str, record: Record) -> None:
        file = self._file(path, record.owner.grantee)
        write_file(file, msgspec.json.encode(record), durable=False)

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        # Tried again, never waited for in the kernel: the loop of events serves other calls.
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = self._folder / "lock"
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + LOCK_S
            while not _try_lock(fd):
                if time.monotonic() > until:
                    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), str(lock))
                await asyncio.sleep(RETRY_S)
            yield
        finally:
            os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def narrows(status: os.stat_result, user: User) -> bool:
    """Return whether a file that becomes one guest's alone is open to others by its mode.

    Not sockets: what else connects to one, connects on.
    """
    is_image = stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)
    return user.is_dynamic and is_image and bool(status.st_mode & 0o007)


def already_in_use(path: str) -> VirError:
    """OPERATION_INVALID: two users' guests would have one file, as libvirt says it."""
    detail = f"Setting different DAC user or group on {path} which is already in use"
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.SECURITY)


def _names(owner: Owner, status: os.stat_result) -> bool:
    """Return whether a record is of this file, and not of an earlier one at its path."""
    return (owner.device, owner.inode) == (status.st_dev, status.st_ino)


def is_shared_file_system(device: int, mounts: Path = MOUNTS) -> bool:
    """Return whether other hosts may have mounted the file system of a device number, too."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.read_text(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ", 3)[2] == wanted:
            return after.split(" ", 1)[0] in SHARED_FILE_SYSTEMS
    return False
