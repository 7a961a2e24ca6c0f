"""One pool as stord knows it: its definition, the pool that is active, or both.

Owns: what is known of one pool. May not touch: files, the bus.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from conf.storage import Pool
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.objects.object import LibvirtObject
from supervisor.stord.backends.base import Backend
from supervisor.stord.pool_process.pool_process import PoolProcessClient
from supervisor.stord.volume_info import PoolInfo, VolumeInfo


@dataclass(slots=True, eq=False)
class ActivePool:
    """A pool that is active."""

    pool: Pool  # as it was started
    backend: Backend
    process: PoolProcessClient
    space: PoolInfo = field(default_factory=PoolInfo)  # its volumes are in `volumes`
    volumes: dict[str, VolumeInfo] = field(default_factory=dict)  # by name
    creating: set[str] = field(default_factory=set)  # names of volumes that are being made
    holds: Counter[str] = field(default_factory=Counter)  # by name: what reads or writes it now

    def update(self, facts: PoolInfo) -> None:
        """Know what a refresh found."""
        self.space = facts
        self.volumes = {volume.name: volume for volume in facts.volumes}

    @property
    def long_operations(self) -> int:
        """How many volumes are being made, copied, wiped or transferred."""
        return len(self.creating) + self.holds.total()

    @contextlib.contextmanager
    def hold_volume(self, name: str) -> Iterator[None]:
        """Keep a volume from being removed or changed meanwhile."""
        self.holds[name] += 1
        try:
            yield
        finally:
            self.holds[name] -= 1
            self.holds += Counter()  # forgets what is not used any more

    @contextlib.contextmanager
    def reserve_name(self, name: str) -> Iterator[None]:
        """Keep a name for a volume that is being made.

        Raises:
            VirError: STORAGE_VOL_EXIST: the name is taken.
        """
        if name in self.volumes or name in self.creating:
            raise VirError(ErrorCode.STORAGE_VOL_EXIST, f"'{name}'", ErrorDomain.STORAGE)
        self.creating.add(name)
        try:
            yield
        finally:
            self.creating.discard(name)


@dataclass(slots=True, eq=False)
class PoolObject(LibvirtObject[Pool, ActivePool]):
    """One pool."""

    @property
    def live_definition(self) -> Pool | None:
        """The active pool's definition: as it was started."""
        return self.runtime.pool if self.runtime is not None else None

    @property
    def identity(self) -> PoolId:
        """The pool as clients name it."""
        return PoolId(self.name, self.uuid)

    def volume_identity(self, volume: VolumeInfo) -> VolumeId:
        """One of its volumes as clients name it."""
        return VolumeId(self.name, volume.name, volume.key)
