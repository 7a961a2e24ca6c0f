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
from supervisor.stord.pool_process.messages import Work
from supervisor.stord.volume_info import PoolFacts, VolumeFacts


class Overwrite(Enum):
    """What building a pool does to a device that has something on it."""

    UNSAID = "unsaid"
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
class Means:
    """What a backend works with."""

    pool: Pool  # as it is defined
    work: Work  # everything that touches the pool's files and devices, in the pool's own process
    secret: FindSecret
    host: str  # tells files half-made by this daemon from those of others that share a folder
    session: bool = False  # a daemon of one user


@dataclass(frozen=True, slots=True)
class Original:
    """The volume that a new one is to be a copy of."""

    volume: VolumeFacts
    secret: SecretName | None = None  # its passphrase


@dataclass(frozen=True, slots=True)
class Creation:
    """How a volume is made."""

    preallocate: bool = False  # virStorageVolCreateXML: PREALLOC_METADATA
    reflink: bool = False
    original: Original | None = None  # only for backends that fill volumes themselves


@dataclass(frozen=True, slots=True)
class Resizing:
    """How a volume's size is changed."""

    allocate: bool = False  # give it all its space at once
    shrink: bool = False  # a smaller size is meant


class Backend(Protocol):
    """The storage of one pool."""

    #: Whether `create_volume` writes a new volume's contents, copies among them. Where it does
    #: not (logical, disk) stord copies into the made volume's path by itself.
    fills_volumes: bool
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

    async def refresh(self) -> PoolFacts:
        """Look at everything anew."""

    async def measure(self) -> PoolFacts:
        """The pool's space now, after a volume of it has changed; without volumes, and quickly."""

    async def build(self, overwrite: Overwrite) -> None:
        """Make the underlying storage: a folder, a file system, a volume group, a table."""

    async def delete(self) -> None:
        """Remove what `build` has made."""

    async def find_volume(self, volume: VolumeFacts) -> VolumeFacts:
        """Look at one volume anew.

        Raises:
            VirError: NO_STORAGE_VOL when it has gone.
        """

    async def create_volume(self, wanted: Volume, how: Creation) -> VolumeFacts:
        """Make a volume; on failure nothing is left of it.

        Args:
            wanted: its document, completed and checked.
            how: the flags of the call.

        Raises:
            VirError: NO_SUPPORT where the pool's volumes cannot be made by us.
        """

    async def delete_volume(self, volume: VolumeFacts, *, zeroed: bool) -> None:
        """Remove a volume; one that has gone already is no error."""

    async def resize_volume(self, volume: VolumeFacts, capacity: int, how: Resizing) -> None:
        """Give a volume another size, in bytes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A line of the table of backends (`supervisor.stord.backends.table`)."""

    make: Callable[[Means], Backend]
    #: Answers virConnectFindStoragePoolSources: the <source> description that a client gave (""
    #: for none), to a <sources> document. None: there is nothing to be found.
    find_sources: Callable[[str], Awaitable[str]] | None = None
    #: Programs without which no such pool can be started; they are looked for at start and build.
    needs: tuple[str, ...] = field(default=())
    in_session: bool = False  # a user's own daemon may have such pools


def unsupported(pool: Pool, doing: str) -> VirError:
    """NO_SUPPORT: pools of this type cannot do that."""
    detail = f"{doing} is not supported by pools of type '{pool.type}' (pool '{pool.name}')"
    return VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
