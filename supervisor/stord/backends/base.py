"""Interface of the storage backends: a class for each pool type, an instance for each active pool.

Owns: that interface and what a backend is constructed with.
A backend decides in pure functions (XML models and program output in, argument lists or values
out) and acts through `supervisor.stord.commands`, which runs programs, and `context.process`, for
files and devices.

A backend may rely on: stord holds the pool's job while `start`, `stop`, `refresh`, `build` and
`delete` run; volume names are checked (no slash, not "." or ".."). Every method may be cancelled at
any await (the client closed, a deadline passed) and then leaves no partial volume.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from conf.storage import Pool, Volume
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.stord.pool_process.messages import PoolProcess
from supervisor.stord.secrets import FindSecret, SecretName
from supervisor.stord.volume_info import NewVolume, PoolInfo, VolumeInfo


class Overwrite(Enum):
    """What `build` does with a device that contains data (VIR_STORAGE_POOL_BUILD_…OVERWRITE)."""

    UNSPECIFIED = "unspecified"
    NO = "no"  # refuse
    YES = "yes"


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a backend is constructed with."""

    pool: Pool  # as it is started
    process: PoolProcess  # does all access to the pool's files and devices: stord never blocks
    find_secret: FindSecret
    host_tag: str  # part of temporary file names: several hosts may share one NFS export
    session: bool = False


@dataclass(frozen=True, slots=True)
class CloneSource:
    """The volume that is cloned."""

    volume: VolumeInfo
    secret: SecretName | None = None  # its passphrase


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """Flags and clone source of virStorageVolCreateXML(From)."""

    preallocate: bool = False  # PREALLOC_METADATA
    reflink: bool = False
    clone_source: CloneSource | None = None  # only for backends with `copies_data`


@dataclass(frozen=True, slots=True)
class ResizeOptions:
    """Flags of virStorageVolResize."""

    allocate: bool = False
    shrink: bool = False


class Backend(Protocol):
    """Storage of one pool."""

    #: `create_volume` writes the volume's data, a clone's included. That may take hours, so the
    #: pool's job is not held meanwhile. Where it is False (logical, disk), `create_volume` only
    #: allocates, under the pool's job, and stord copies a clone's data to the volume's path.
    copies_data: bool

    async def check(self) -> bool:
        """Return whether the pool is active; called when stord reconnects after its own restart.

        Raises:
            VirError: OPERATION_TIMEOUT: unknown, its storage hangs; other errors mean False.
        """

    async def start(self) -> None:
        """Make the storage accessible: mount, log in, activate; on failure nothing stays done."""

    async def stop(self) -> None:
        """Undo `start`; storage that is not there any more is no error."""

    async def refresh(self) -> PoolInfo:
        """Return the volumes and the space of the pool."""

    async def read_space(self) -> PoolInfo:
        """Return the space of the pool, without volumes."""

    async def build(self, overwrite: Overwrite) -> None:
        """Create the storage: directory, file system, volume group or partition table."""

    async def delete(self) -> None:
        """Remove the storage that `build` created."""

    async def refresh_volume(self, volume: VolumeInfo) -> VolumeInfo:
        """Return the current state of one volume.

        Raises:
            VirError: NO_STORAGE_VOL.
        """

    async def create_volume(self, definition: Volume, options: CreateOptions) -> NewVolume:
        """Create a volume; on failure nothing is left of it.

        Args:
            definition: its XML, completed and validated.
            options: the flags of the call.

        Raises:
            VirError: NO_SUPPORT where volumes are created elsewhere (iSCSI: on the target).
        """

    async def clone_at_once(
        self, definition: Volume, source: VolumeInfo, options: CreateOptions
    ) -> NewVolume | None:
        """Create a volume with the content of another one, if that takes no noticeable time.

        The source need not be refreshed before. On failure nothing is left of the volume.

        Returns:
            None: it takes longer, or it is not known; nothing is done.

        Raises:
            VirError: as `create_volume`; NO_STORAGE_VOL: the source is not there.
        """

    async def delete_volume(self, volume: VolumeInfo, *, zeroed: bool) -> PoolInfo | None:
        """Remove a volume; a missing one is no error.

        Returns:
            The space of the pool now, without volumes; None: not read yet.
        """

    async def resize_volume(
        self, volume: VolumeInfo, capacity: int, options: ResizeOptions
    ) -> None:
        """Change a volume's capacity, in bytes."""


@dataclass(frozen=True, slots=True)
class BackendType:
    """A row of the table of backends (`supervisor.stord.backends.table`)."""

    create: Callable[[BackendContext], Backend]
    #: virConnectFindStoragePoolSources: <source> XML ("" for none) in, <sources> XML out. None:
    #: the type has no discovery.
    find_sources: Callable[[str], Awaitable[str]] | None = None
    #: Programs that starting a pool of this type requires.
    programs: tuple[str, ...] = field(default=())
    in_session: bool = False  # qemu:///session may have such pools


def not_supported(pool: Pool, operation: str) -> VirError:
    """NO_SUPPORT: pools of this type have no such operation."""
    detail = f"{operation} is not supported by pools of type '{pool.type}' (pool '{pool.name}')"
    return VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
