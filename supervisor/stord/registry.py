"""The registry of pools, and the volumes of active ones.

Owns: the table of pools. May not touch: files, the bus.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from typing import Final, TypeAlias

from conf.storage import Pool, format_pool, parse_pool
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.objects.definition_files import DefinitionFiles
from supervisor.objects.definition_xml import DefinitionXml, Identity
from supervisor.objects.definitions import Definitions
from supervisor.objects.object_type import ObjectType
from supervisor.objects.registry import Registry
from supervisor.stord.pool import ActivePool, PoolObject, check_source_conflict
from supervisor.stord.volume_info import VolumeInfo

POOLS: Final = ObjectType(
    name="pool",
    long_name="storage pool",
    edit_command="pool-edit",
    not_found=ErrorCode.NO_STORAGE_POOL,
    errors=STORAGE_ERRORS,
    conf_errors=STORAGE_ERRORS,
)


POOL_XML: Final = DefinitionXml(
    parse=parse_pool,
    format=format_pool,
    identity=lambda pool: Identity.of_texts(pool.name, pool.uuid),
)
PoolDefinitions: TypeAlias = Definitions[PoolObject, Pool]


class PoolRegistry(Registry[PoolObject]):
    """The pools of one daemon."""

    def __init__(self) -> None:
        super().__init__(POOLS, PoolObject)

    def at_path(self, path: str) -> PoolObject:
        """Return the active pool with this target path.

        Raises:
            VirError: NO_STORAGE_POOL.
        """
        normalized = os.path.normpath(path)
        for obj in self:
            if obj.runtime is not None and obj.current.path == normalized:
                return obj
        raise self.object_type.no_such(f"with matching target path '{path}'")

    def active(self, identity: PoolId) -> tuple[PoolObject, ActivePool]:
        """Return the active pool that a client names.

        Raises:
            VirError: NO_STORAGE_POOL; OPERATION_INVALID.
        """
        obj = self.find(identity)
        return obj, require_active(obj)

    # Volumes.

    def volume(self, identity: VolumeId) -> tuple[PoolObject, ActivePool, VolumeInfo]:
        """Return the volume that a client names by its pool's name and its own.

        Raises:
            VirError: NO_STORAGE_POOL, NO_STORAGE_VOL; OPERATION_INVALID: the pool is off.
        """
        obj = self.get_by_name(identity.pool)
        now = require_active(obj)
        return obj, now, volume_named(now, identity.name)

    def by_key(self, key: str) -> VolumeId:
        """Return the volume with this key.

        Raises:
            VirError: NO_STORAGE_VOL.
        """
        for obj, volume in self._volumes():
            if volume.key == key:
                return obj.volume_identity(volume)
        raise no_volume(f"with matching key {key}")

    def by_path(self, path: str) -> VolumeId:
        """Return the volume with this path.

        Raises:
            VirError: NO_STORAGE_VOL.
        """
        normalized = os.path.normpath(path)
        for obj, volume in self._volumes():
            if volume.path in (path, normalized):
                return obj.volume_identity(volume)
        raise no_volume(f"with matching path '{path}'")

    def _volumes(self) -> Iterator[tuple[PoolObject, VolumeInfo]]:
        for obj in self:
            if obj.runtime is not None:
                for volume in obj.runtime.volumes.values():
                    yield obj, volume


def pool_definitions(
    registry: PoolRegistry, files: DefinitionFiles, publisher: Publisher
) -> PoolDefinitions:
    """Make the definitions of a daemon's pools; no two may have the same storage."""

    def check(pool: Pool) -> None:
        check_source_conflict(pool, [obj.current for obj in registry])

    return Definitions(registry, files, POOL_XML, publisher, check=check)


def require_active(obj: PoolObject) -> ActivePool:
    """Return the state of an active pool.

    Raises:
        VirError: OPERATION_INVALID when it is off.
    """
    if obj.runtime is None:
        raise POOLS.not_active(obj.name)
    return obj.runtime


def volume_named(now: ActivePool, name: str) -> VolumeInfo:
    """Return a pool's volume by name.

    Raises:
        VirError: NO_STORAGE_VOL; OPERATION_INVALID when it is only being made.
    """
    volume = now.volumes.get(name)
    if volume is not None:
        return volume
    if name in now.creating:
        raise STORAGE_ERRORS.operation_invalid(f"volume '{name}' is still being allocated.")
    raise no_volume(f"with matching name '{name}'")


def no_volume(which: str) -> VirError:
    """NO_STORAGE_VOL: the volume does not exist."""
    return VirError(ErrorCode.NO_STORAGE_VOL, f"no storage vol {which}", ErrorDomain.STORAGE)
