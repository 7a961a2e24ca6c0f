"""Requests from stord to a pool's helper processes.

Owns: the messages and the interface by which they are sent. Senders: stord, backends.
Errors of all: OPERATION_TIMEOUT when the storage does not answer within the deadline; SYSTEM_ERROR
when the kernel refuses, `int1` is the errno; INTERNAL_ERROR when the process died.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

import msgspec

from ipc import Ack, Descriptor, Request
from supervisor.stord.volume_info import NewVolume, PoolInfo, VolumeInfo

R = TypeVar("R")

#: Metadata operations take milliseconds on working storage. On a hard-mounted NFS export whose
#: server is down they never return.
QUICK_S: Final = 10.0
LONG_S: Final = 6 * 3600.0  # writing or copying a whole volume


class PoolProcess(Protocol):
    """The helper processes of one pool."""

    async def call(
        self, request: Request[R], *, deadline_s: float | None = None, finish: bool = False
    ) -> R:
        """Send a request to the pool's process, which answers one after the other.

        Args:
            request: what to do.
            deadline_s: another deadline than its class has.
            finish: wait for the outcome also when the caller is cancelled, and raise that then:
                the clean-up knows what is done.

        Raises:
            VirError: the answer, or OPERATION_TIMEOUT: its storage hangs.
        """

    async def call_dedicated(self, request: Request[R]) -> R:
        """Send a request to a new process, which is killed when the caller is cancelled.

        Raises:
            VirError: as `call`; RESOURCE_BUSY when the pool has too many dedicated processes.
        """

    def release(self) -> None:
        """End the pool's process; the next request starts another.

        An open directory makes umount fail with EBUSY.
        """


class FilePermissions(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Mode and owner of a new file; -1 keeps what the kernel gave it."""

    mode: int = -1
    owner: int = -1
    group: int = -1


class Scan(Request[PoolInfo], frozen=True, kw_only=True, tag="pool.scan"):
    """List the volumes of a directory and the space of its file system."""

    deadline_s = 60.0  # a directory of thousands of images on a slow server
    directory: str


class Stat(Request[VolumeInfo], frozen=True, kw_only=True, tag="pool.stat"):
    """Describe one volume. Errors: NO_STORAGE_VOL."""

    deadline_s = QUICK_S
    directory: str
    name: str
    is_raw: bool = False  # whatever it begins with: what a guest writes there is no header


class GetSpace(Request[PoolInfo], frozen=True, kw_only=True, tag="pool.get_space"):
    """Measure a directory's file system; the reply has no volumes."""

    deadline_s = QUICK_S
    directory: str


class MakeDirectory(Request[Ack], frozen=True, kw_only=True, tag="pool.make_directory"):
    """Create a pool's directory and its parents; an existing one gets the permissions."""

    deadline_s = QUICK_S
    path: str
    permissions: FilePermissions


class CheckDirectory(Request[Ack], frozen=True, kw_only=True, tag="pool.check_directory"):
    """Check that a path is a readable directory."""

    deadline_s = QUICK_S
    path: str


class RemoveDirectory(Request[Ack], frozen=True, kw_only=True, tag="pool.remove_directory"):
    """Remove an empty directory."""

    deadline_s = QUICK_S
    path: str


class CreateRaw(Request[Ack], frozen=True, kw_only=True, tag="pool.create_raw"):
    """Create a file of zeros under a temporary name; it is no volume before `CommitFile`."""

    deadline_s = LONG_S
    directory: str
    temporary_name: str
    capacity: int
    allocation: int  # bytes to allocate at once; the rest is a hole
    nocow: bool = False


class CopyRaw(Request[Ack], frozen=True, kw_only=True, tag="pool.copy_raw"):
    """Copy a volume's bytes to a new file or into a block device; holes stay holes in files."""

    deadline_s = LONG_S
    source: str
    target: str
    size: int  # of the target; what lies beyond the source is zeros
    is_new: bool  # the target is a file to be created
    reflink: bool = False  # share the blocks (FICLONE) or fail


class CommitFile(Request[NewVolume], frozen=True, kw_only=True, tag="pool.commit_file"):
    """Make a volume of a finished temporary file: permissions, rename, fsync of the directory.

    The reply has the space that is left, too: both are asked for after each creation.
    Errors: STORAGE_VOL_EXIST when the name is taken.
    """

    deadline_s = QUICK_S
    directory: str
    temporary_name: str
    name: str
    permissions: FilePermissions


class CreateRawVolume(Request[NewVolume], frozen=True, kw_only=True, tag="pool.create_raw_volume"):
    """Do what `CreateRaw` and `CommitFile` do, for a file that takes no noticeable time to write.

    Errors: those of both; nothing is left then.
    """

    deadline_s = QUICK_S
    file: CreateRaw
    name: str
    permissions: FilePermissions


class ClonedVolume(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A clone that was made at once."""

    made: NewVolume | None = None  # None: the source has more data than the limit; nothing is done


class CloneRawVolume(Request[ClonedVolume], frozen=True, kw_only=True, tag="pool.clone_raw_volume"):
    """Do what `CopyRaw` and `CommitFile` do, for a source that is copied in no noticeable time.

    Errors: those of both; NO_STORAGE_VOL: the source is not there. Nothing is left then.
    """

    deadline_s = QUICK_S
    directory: str
    temporary_name: str
    copy: CopyRaw
    name: str
    permissions: FilePermissions
    limit: int  # allocated bytes of the source


class AbortCreate(Request[Ack], frozen=True, kw_only=True, tag="pool.abort_create"):
    """Remove a file whose creation failed, under its temporary name or its final one.

    With `name` the outcome of its `CommitFile`, `CreateRawVolume` or `CloneRawVolume` is not known:
    the process may have died after the rename. After the latter two neither name may be ours: what
    has the final one since before `since_ns` is another's file, and stays.
    """

    deadline_s = QUICK_S
    directory: str
    temporary_name: str
    name: str = ""  # "": `CommitFile` was not sent, or refused
    since_ns: int = 0  # of the epoch; a rename sets the time of the inode's last change


class RemoveLeftovers(Request[Ack], frozen=True, kw_only=True, tag="pool.remove_leftovers"):
    """Remove the temporary files that an earlier stord of this host left in a directory."""

    deadline_s = QUICK_S
    directory: str
    host_tag: str
    pid: int  # of this stord, whose own temporary files stay


class CheckChain(Request[Ack], frozen=True, kw_only=True, tag="pool.check_chain"):
    """Refuse an image whose chain loops, or has a backing file without a named format.

    Errors: SYSTEM_ERROR for a file that is not there.
    """

    deadline_s = QUICK_S
    path: str
    format: str


class OpenedVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume opened for a program; the receiver closes the descriptor."""

    descriptor: Descriptor
    backing: str = ""  # the local backing file; "": none, or a remote one
    backing_format: str = ""


class OpenVolume(Request[OpenedVolume], frozen=True, kw_only=True, tag="pool.open_volume"):
    """Open a volume for a program; its path could be replaced before the program opens it.

    Errors: OPERATION_DENIED for a symbolic link out of the pool; those of `CheckChain`.
    """

    deadline_s = QUICK_S
    path: str
    format: str  # "raw": the content is not parsed
    writable: bool


class CreateDirectoryVolume(Request[Ack], frozen=True, kw_only=True, tag="pool.create_directory"):
    """Create a volume of format dir. Errors: STORAGE_VOL_EXIST."""

    deadline_s = QUICK_S
    directory: str
    name: str
    permissions: FilePermissions


class Removed(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A volume is removed."""

    space: PoolInfo | None = None  # of the pool now, without volumes; None: cannot be measured


class Remove(Request[Removed], frozen=True, kw_only=True, tag="pool.remove"):
    """Remove a file or an empty directory of the pool; a missing one is no error."""

    deadline_s = QUICK_S
    directory: str
    name: str


class Resize(Request[Ack], frozen=True, kw_only=True, tag="pool.resize"):
    """Change the size of a raw file."""

    deadline_s = LONG_S
    path: str
    capacity: int
    allocate: bool = False


class Wipe(Request[Ack], frozen=True, kw_only=True, tag="pool.wipe"):
    """Overwrite a volume with zeros; a sparse file is truncated and extended instead."""

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
    """Write what arrives on a socket into a volume.

    Errors: INTERNAL_ERROR when more than `length` bytes arrive.
    """

    deadline_s = LONG_S
    path: str
    descriptor: Descriptor
    offset: int
    length: int  # 0: no limit
    sparse: bool = False


#: Sent again when the pool's process dies: the second time does what is left of the first.
REPEATABLE: Final = (
    Scan, Stat, GetSpace, CheckDirectory, CheckChain, OpenVolume, AbortCreate, RemoveLeftovers,
)  # fmt: skip
