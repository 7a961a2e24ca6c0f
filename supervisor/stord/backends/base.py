"""What stord asks of a kind of storage: one small class a pool type, one object a pool.

Owns: that interface, and what a backend is given to work with.
A backend decides by pure functions (document and facts in, argument lists or values out) and acts
by `supervisor.stord.commands`, which runs programs, and `means.work`, for files and devices.

What a backend may rely on: stord holds the pool's job while `start`, `stop`, `refresh`, `build`,
`delete`, `create_volume`, `delete_volume` and `resize_volume` run, so no two of them meet; volumes'
names have been checked (no slash, not "." or ".."); every call has its deadline. Each may be
cancelled at any await, and must leave nothing half-made then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from conf.storage import Pool, Volume
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.stord.pool_process.messages import PoolProcess
from supervisor.stord.volume_info import PoolInfo, VolumeInfo


class Overwrite(Enum):
    """What building a pool does to a device that has something on it."""

    UNSPECIFIED = "unsaid"
    NO = "no"  # refuse
    YES = "yes"


@dataclass(frozen=True, slots=True)
class SecretName:
    """Which of the host's secrets: by its UUID, or by what it is for."""

    kind: str  # "volume", "iscsi", "ceph", "tls"
    uuid: str = ""
    usage: str = ""


#: Finds a secret's value. Raises `VirError`: NO_SECRET.
FindSecret = Callable[[SecretName], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a backend works with."""

    pool: Pool  # as it is defined
    process: PoolProcess  # does all access to the pool's files and devices: stord never blocks
    find_secret: FindSecret
    host_tag: str  # part of temporary file names: several hosts may share one NFS export
    session: bool = False  # a daemon of one user


@dataclass(frozen=True, slots=True)
class CloneSource:
    """The volume that a new one is to be a copy of."""

    volume: VolumeInfo
    secret: SecretName | None = None  # its passphrase


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """How a volume is made."""

    preallocate: bool = False  # virStorageVolCreateXML: PREALLOC_METADATA
    reflink: bool = False
    clone_source: CloneSource | None = None  # only for backends that fill volumes themselves


@dataclass(frozen=True, slots=True)
class ResizeOptions:
    """How a volume's size is changed."""

    allocate: bool = False  # give it all its space at once
    shrink: bool = False  # a smaller size is meant


class Backend(Protocol):
    """The storage of one pool."""

    #: Whether `create_volume` writes a new volume's contents, copies among them. Where it does
    #: not (logical, disk) stord copies into the made volume's path by itself.
    copies_data: bool
    #: Whether `create_volume` may take long: the pool's job is not held then, and other volumes
    #: of the pool can be used meanwhile.
    is_slow_to_create: bool

    async def check(self) -> bool:
        """Whether the pool is active already: asked once, after a start of stord.

        Raises:
            VirError: OPERATION_TIMEOUT: nobody knows, its storage hangs; others as False.
        """

    async def start(self) -> None:
        """Make its storage usable; volumes are asked for by `refresh`. Fails whole.

        Raises:
            VirError: of libvirt's code for what is missing.
        """

    async def stop(self) -> None:
        """Undo `start`. A pool whose storage has gone already is stopped all the same."""

    async def refresh(self) -> PoolInfo:
        """Look at everything anew."""

    async def read_space(self) -> PoolInfo:
        """The pool's space now, after a volume of it has changed; without volumes, and quickly."""

    async def build(self, overwrite: Overwrite) -> None:
        """Make the underlying storage: a folder, a file system, a volume group, a table."""

    async def delete(self) -> None:
        """Remove what `build` has made."""

    async def refresh_volume(self, volume: VolumeInfo) -> VolumeInfo:
        """Look at one volume anew.

        Raises:
            VirError: NO_STORAGE_VOL when it has gone.
        """

    async def create_volume(self, definition: Volume, options: CreateOptions) -> VolumeInfo:
        """Make a volume; on failure nothing is left of it.

        Args:
            definition: its document, completed and checked.
            options: the flags of the call.

        Raises:
            VirError: NO_SUPPORT where the pool's volumes cannot be made by us.
        """

    async def delete_volume(self, volume: VolumeInfo, *, zeroed: bool) -> None:
        """Remove a volume; one that has gone already is no error."""

    async def resize_volume(
        self, volume: VolumeInfo, capacity: int, options: ResizeOptions
    ) -> None:
        """Give a volume another size, in bytes."""


@dataclass(frozen=True, slots=True)
class BackendType:
    """A line of the table of backends (`supervisor.stord.backends.table`)."""

    create: Callable[[BackendContext], Backend]
    #: Answers virConnectFindStoragePoolSources: the <source> description that a client gave (""
    #: for none), to a <sources> document. None: there is nothing to be found.
    find_sources: Callable[[str], Awaitable[str]] | None = None
    #: Programs without which no such pool can be started; they are looked for at start and build.
    programs: tuple[str, ...] = field(default=())
    in_session: bool = False  # a user's own daemon may have such pools


def not_supported(pool: Pool, operation: str) -> VirError:
    """NO_SUPPORT: pools of this type cannot do that."""
    detail = f"{operation} is not supported by pools of type '{pool.type}' (pool '{pool.name}')"
    return VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
