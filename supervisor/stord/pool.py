"""Pool object (virStoragePoolObj): a definition, an active pool, or both.

Owns: one pool's state in memory. May not touch: files, the bus.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from conf.storage import Pool, same_source
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.objects.object import LibvirtObject
from supervisor.stord.backends.base import Backend
from supervisor.stord.pool_process.pool_process import PoolProcessClient
from supervisor.stord.volume_info import PoolInfo, VolumeInfo


@dataclass(slots=True, eq=False)
class ActivePool:
    """Runtime state of an active pool."""

    pool: Pool  # as it was started
    backend: Backend
    process: PoolProcessClient
    space: PoolInfo = field(default_factory=PoolInfo)  # without volumes
    volumes: dict[str, VolumeInfo] = field(default_factory=dict)  # by name
    creating: set[str] = field(default_factory=set)  # names of volumes being created
    holds: Counter[str] = field(
        default_factory=Counter
    )  # operations that use a volume, by its name

    def update(self, info: PoolInfo) -> None:
        """Replace space and volumes by those of a refresh."""
        self.space = info
        self.volumes = {volume.name: volume for volume in info.volumes}

    @property
    def long_operations(self) -> int:
        """Count the volumes being created, copied, wiped or transferred (asyncjobs in libvirt)."""
        return len(self.creating) + self.holds.total()

    @contextlib.contextmanager
    def hold_volume(self, name: str) -> Iterator[None]:
        """Keep a volume from being deleted or changed while the body runs."""
        self.holds[name] += 1
        try:
            yield
        finally:
            self.holds[name] -= 1
            self.holds += Counter()  # drops zero counts

    @contextlib.contextmanager
    def reserve_name(self, name: str) -> Iterator[None]:
        """Reserve the name of a volume that the body creates.

        Raises:
            VirError: STORAGE_VOL_EXIST.
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
        """Return remote_nonnull_storage_pool."""
        return PoolId(self.name, self.uuid)

    def volume_identity(self, volume: VolumeInfo) -> VolumeId:
        """Return remote_nonnull_storage_vol of one of its volumes."""
        return VolumeId(self.name, volume.name, volume.key)


def check_source_conflict(definition: Pool, others: Iterable[Pool]) -> None:
    """Refuse a pool on the storage of another: each would change volumes behind the other's back.

    Raises:
        VirError: OPERATION_FAILED naming the other pool.
    """
    for other in others:
        if other.name != definition.name and same_source(definition, other):
            detail = f"Storage source conflict with pool: '{other.name}'"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
