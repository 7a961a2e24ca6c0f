"""Lists, lookups, info and XML of pools. Answered from memory.

Owns: one method per procedure, named as in the table. May not touch: anything.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

from conf.storage import PoolType, format_capabilities, format_pool
from rpc.enums import ConnectListAllStoragePoolsFlags as Flags
from rpc.enums import StoragePoolState, StorageXMLFlags
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.objects.listing import (
    ListFilter,
    either,
    has_autostart,
    is_active,
    is_persistent,
)
from supervisor.stord.pool import PoolObject
from supervisor.stord.pool_xml import format_active_pool
from supervisor.stord.registry import PoolRegistry


def _has_type(kind: PoolType) -> Callable[[PoolObject], bool]:
    return lambda obj: obj.current.type is kind


TYPE_FILTERS: Final = {
    Flags.DIR: PoolType.DIR,
    Flags.FS: PoolType.FS,
    Flags.NETFS: PoolType.NETFS,
    Flags.LOGICAL: PoolType.LOGICAL,
    Flags.DISK: PoolType.DISK,
    Flags.ISCSI: PoolType.ISCSI,
    Flags.SCSI: PoolType.SCSI,
    Flags.MPATH: PoolType.MPATH,
    Flags.RBD: PoolType.RBD,
    Flags.SHEEPDOG: PoolType.SHEEPDOG,
    Flags.GLUSTER: PoolType.GLUSTER,
    Flags.ZFS: PoolType.ZFS,
    Flags.VSTORAGE: PoolType.VSTORAGE,
    Flags.ISCSI_DIRECT: PoolType.ISCSI_DIRECT,
}
FILTER: Final[ListFilter[PoolObject]] = ListFilter(
    either(Flags.ACTIVE, Flags.INACTIVE, is_active),
    either(Flags.PERSISTENT, Flags.TRANSIENT, is_persistent),
    either(Flags.AUTOSTART, Flags.NO_AUTOSTART, has_autostart),
    tuple((flag, _has_type(kind)) for flag, kind in TYPE_FILTERS.items()),
)


class PoolQueryCalls:
    """Answers what clients ask about pools."""

    def __init__(self, registry: PoolRegistry, supported: Container[PoolType]) -> None:
        self._registry = registry
        self._supported = supported

    # Lists and lookups.

    def connect_num_of_storage_pools(self, call: ClientCall) -> int:
        """Count the active pools."""
        call.cacheable = True
        return sum(obj.runtime is not None for obj in self._registry)

    def connect_list_storage_pools(self, call: ClientCall, maxnames: int) -> list[str]:
        """List the names of active pools."""
        call.cacheable = True
        names = [obj.name for obj in self._registry if obj.runtime is not None]
        return names[: max(0, maxnames)]

    def connect_num_of_defined_storage_pools(self, call: ClientCall) -> int:
        """Count the inactive pools."""
        call.cacheable = True
        return sum(obj.runtime is None for obj in self._registry)

    def connect_list_defined_storage_pools(self, call: ClientCall, maxnames: int) -> list[str]:
        """List the names of inactive pools."""
        call.cacheable = True
        names = [obj.name for obj in self._registry if obj.runtime is None]
        return names[: max(0, maxnames)]

    def connect_list_all_storage_pools(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[PoolId], int]:
        """List the pools that match the filters."""
        call.cacheable = True
        STORAGE_ERRORS.check_flags("storageConnectListAllStoragePools", flags, FILTER.flags)
        pools = [obj.identity for obj in FILTER.select(self._registry, flags)]
        return pools if need_results else [], len(pools)

    def storage_pool_lookup_by_name(self, call: ClientCall, name: str) -> PoolId:
        """Look a pool up by its name."""
        call.cacheable = True
        return self._registry.get_by_name(name).identity

    def storage_pool_lookup_by_uuid(self, call: ClientCall, uuid: bytes) -> PoolId:
        """Look a pool up by its UUID."""
        call.cacheable = True
        return self._registry.find(PoolId("", uuid)).identity

    def storage_pool_lookup_by_volume(self, call: ClientCall, vol: VolumeId) -> PoolId:
        """Look up the pool of a volume."""
        call.cacheable = True
        return self._registry.get_by_name(vol.pool).identity

    def storage_pool_lookup_by_target_path(self, call: ClientCall, path: str) -> PoolId:
        """Look up the active pool with a target path."""
        call.cacheable = True
        return self._registry.at_path(path).identity

    # State.

    def storage_pool_is_active(self, call: ClientCall, pool: PoolId) -> int:
        """Return whether the pool is active."""
        call.cacheable = True
        return int(self._registry.find(pool).runtime is not None)

    def storage_pool_is_persistent(self, call: ClientCall, pool: PoolId) -> int:
        """Return whether the pool is persistent."""
        call.cacheable = True
        return int(self._registry.find(pool).definition is not None)

    def storage_pool_get_autostart(self, call: ClientCall, pool: PoolId) -> int:
        """Return the autostart mark."""
        call.cacheable = True
        return int(self._registry.find(pool).autostart)

    def storage_pool_get_info(self, call: ClientCall, pool: PoolId) -> tuple[int, int, int, int]:
        """Return the pool's state and space (virStoragePoolInfo)."""
        obj = self._registry.find(pool)
        if obj.runtime is None:
            return StoragePoolState.INACTIVE, 0, 0, 0
        space, hangs = obj.runtime.space, obj.runtime.process.is_hung
        state = StoragePoolState.INACCESSIBLE if hangs else StoragePoolState.RUNNING
        return state, space.capacity, space.allocation, space.available

    def storage_pool_get_xml_desc(self, call: ClientCall, pool: PoolId, flags: int) -> str:
        """Return the pool's XML.

        Raises:
            VirError: INVALID_ARG for unknown flags.
        """
        call.cacheable = True
        STORAGE_ERRORS.check_flags("storagePoolGetXMLDesc", flags, StorageXMLFlags.INACTIVE)
        obj = self._registry.find(pool)
        if obj.definition is not None and (obj.runtime is None or flags):
            return format_pool(obj.definition)
        assert obj.runtime is not None, "an inactive transient pool is in no list"
        return format_active_pool(obj.runtime)

    def connect_get_storage_pool_capabilities(self, call: ClientCall, flags: int) -> str:
        """Return the XML of the supported pool types."""
        call.cacheable = True
        STORAGE_ERRORS.check_flags("storageConnectGetCapabilities", flags)
        return format_capabilities(self._supported)
