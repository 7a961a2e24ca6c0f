"""What stord asks of the processes that touch pools' files and devices.

Owns: the messages' shapes, and how such a process is asked. Senders: stord, backends.
Errors of all: OPERATION_TIMEOUT when the storage does not answer; SYSTEM_ERROR for what the
kernel refuses, with its number in int1.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

import msgspec

from ipc import Ack, Descriptor, Request
from supervisor.stord.volume_info import PoolInfo, VolumeInfo

R = TypeVar("R")

QUICK_S: Final = 10.0  # what ought to take milliseconds: the storage hangs if it does not
LONG_S: Final = 6 * 3600.0  # writing or copying a whole volume


class PoolProcess(Protocol):
    """A pool's own process, and further ones for what takes long."""

    async def call(self, request: Request[R], *, deadline_s: float | None = None) -> R:
        """Ask the pool's process; questions are answered one after the other.

        Raises:
            VirError: the answer, or OPERATION_TIMEOUT: its storage hangs.
        """

    async def call_dedicated(self, request: Request[R]) -> R:
        """Ask a process of its own, which is killed when nobody waits for it any more.

        Raises:
            VirError: as `call`; RESOURCE_BUSY when too many of them run for this pool.
        """

    def release(self) -> None:
        """End the pool's process, which may hold its folder; the next question makes another."""


class FilePermissions(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who owns a file; -1 leaves a matter as it is."""

    mode: int = -1
    owner: int = -1
    group: int = -1


class Scan(Request[PoolInfo], frozen=True, kw_only=True, tag="pool.scan"):
    """Every volume in a folder, and the space of its file system."""

    deadline_s = 60.0  # a pool of many volumes
    directory: str


class Stat(Request[VolumeInfo], frozen=True, kw_only=True, tag="pool.stat"):
    """One volume. Errors: NO_STORAGE_VOL."""

    deadline_s = QUICK_S
    directory: str
    name: str


class GetSpace(Request[PoolInfo], frozen=True, kw_only=True, tag="pool.get_space"):
    """The space of a folder's file system; no volumes."""

    deadline_s = QUICK_S
    directory: str


class MakeDirectory(Request[Ack], frozen=True, kw_only=True, tag="pool.make_directory"):
    """Make a folder and those above it; one that is there gets the permissions."""

    deadline_s = QUICK_S
    path: str
    permissions: FilePermissions


class CheckDirectory(Request[Ack], frozen=True, kw_only=True, tag="pool.check_directory"):
    """Refuse what is no folder, or cannot be opened."""

    deadline_s = QUICK_S
    path: str


class RemoveDirectory(Request[Ack], frozen=True, kw_only=True, tag="pool.remove_directory"):
    """Remove a folder, which must be empty."""

    deadline_s = QUICK_S
    path: str


class CreateRaw(Request[Ack], frozen=True, kw_only=True, tag="pool.create_raw"):
    """Make a file of zeros that nobody sees as a volume yet (`temporary_name`). May take long."""

    deadline_s = LONG_S
    directory: str
    temporary_name: str
    capacity: int
    allocation: int  # bytes of it that get their space at once
    nocow: bool = False


class CopyRaw(Request[Ack], frozen=True, kw_only=True, tag="pool.copy_raw"):
    """Copy a volume's bytes to a file, or into a device that is there; holes stay holes."""

    deadline_s = LONG_S
    source: str
    target: str
    size: int  # of the target; the rest of it is zeros
    is_new: bool  # the target is a file that is not there yet
    reflink: bool = False  # share the blocks or refuse


class CommitFile(Request[Ack], frozen=True, kw_only=True, tag="pool.commit_file"):
    """Make a volume of a finished temporary file: permissions, then the name, durably.

    Errors: STORAGE_VOL_EXIST when the name is taken; the temporary file is removed then.
    """

    deadline_s = QUICK_S
    directory: str
    temporary_name: str
    name: str
    permissions: FilePermissions


class RemoveLeftovers(Request[Ack], frozen=True, kw_only=True, tag="pool.remove_leftovers"):
    """Remove what an earlier stord of this host left half-made in a folder."""

    deadline_s = QUICK_S
    directory: str
    host_tag: str
    pid: int  # of this stord: what it makes now stays


class CheckChain(Request[Ack], frozen=True, kw_only=True, tag="pool.check_chain"):
    """Refuse an image whose backing files are not all named with their formats, or loop."""

    deadline_s = QUICK_S
    path: str
    format: str


class OpenedVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume that is open for a program; the receiver closes it."""

    descriptor: Descriptor
    backing: str = ""  # the local image below; "": none, or none that is local
    backing_format: str = ""


class OpenVolume(Request[OpenedVolume], frozen=True, kw_only=True, tag="pool.open_volume"):
    """Open a volume for a program, to which its name could meanwhile lead elsewhere.

    Errors: OPERATION_DENIED for a link out of the pool; those of `CheckChain`.
    """

    deadline_s = QUICK_S
    path: str
    format: str  # "raw": nothing in it is looked at
    writable: bool


class CreateDirectoryVolume(Request[Ack], frozen=True, kw_only=True, tag="pool.create_directory"):
    """Make a volume that is a folder. Errors: STORAGE_VOL_EXIST."""

    deadline_s = QUICK_S
    directory: str
    name: str
    permissions: FilePermissions


class Remove(Request[Ack], frozen=True, kw_only=True, tag="pool.remove"):
    """Remove a file or an empty folder of the pool; one that has gone is no error."""

    deadline_s = QUICK_S
    directory: str
    name: str


class Resize(Request[Ack], frozen=True, kw_only=True, tag="pool.resize"):
    """Give a raw file another size."""

    deadline_s = LONG_S
    path: str
    capacity: int
    allocate: bool = False


class Wipe(Request[Ack], frozen=True, kw_only=True, tag="pool.wipe"):
    """Write zeros over a volume; one that is sparse is emptied and made sparse again."""

    deadline_s = LONG_S
    path: str


class Send(Request[Ack], frozen=True, kw_only=True, tag="pool.send"):
    """Write a volume's bytes into a socket or pipe, to its end or for `length` bytes."""

    deadline_s = LONG_S
    path: str
    descriptor: Descriptor
    offset: int
    length: int  # 0: to the end
    sparse: bool = False  # in records, see `supervisor.messages.sparse_stream`


class Receive(Request[Ack], frozen=True, kw_only=True, tag="pool.receive"):
    """Write what comes from a socket into a volume.

    Errors: INTERNAL_ERROR when more than `length` bytes come.
    """

    deadline_s = LONG_S
    path: str
    descriptor: Descriptor
    offset: int
    length: int  # 0: as many as come
    sparse: bool = False
