"""Lookups, lists, info and XML of volumes. Lists and lookups are answered from memory.

Owns: one method per procedure, named as in the table; `ResolveVolume` of workers.
May touch: a volume, to read its current sizes, through the backend of its pool.
"""

from __future__ import annotations

from typing import Final

from ipc import handles
from rpc.enums import StorageVolInfoFlags, StorageVolType
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.messages.stord import ResolvedVolume, ResolveVolume
from supervisor.stord.pool_xml import format_volume_info
from supervisor.stord.pools import Pools
from supervisor.stord.registry import PoolRegistry
from supervisor.stord.volume_info import VolumeInfo

MAX_LISTED: Final = 16384  # REMOTE_STORAGE_VOL_LIST_MAX
#: Disk types of volume types: a guest has no disks of the latter's types.
DISK_TYPES: Final = {"netdir": "network", "ploop": "dir"}
TYPES: Final = {kind.name.lower(): kind for kind in StorageVolType}


class VolumeQueryCalls:
    """Answers what clients and workers ask about volumes."""

    def __init__(self, registry: PoolRegistry, pools: Pools) -> None:
        self._registry = registry
        self._pools = pools

    # Lists and lookups.

    def storage_pool_num_of_volumes(self, call: ClientCall, pool: PoolId) -> int:
        """Count an active pool's volumes."""
        call.cacheable = True
        return len(self._registry.active(pool)[1].volumes)

    def storage_pool_list_volumes(self, call: ClientCall, pool: PoolId, maxnames: int) -> list[str]:
        """List the names of an active pool's volumes."""
        call.cacheable = True
        return list(self._registry.active(pool)[1].volumes)[: min(max(0, maxnames), MAX_LISTED)]

    def storage_pool_list_all_volumes(
        self, call: ClientCall, pool: PoolId, need_results: int, flags: int
    ) -> tuple[list[VolumeId], int]:
        """List every volume of an active pool."""
        call.cacheable = True
        STORAGE_ERRORS.check_flags("storagePoolListAllVolumes", flags)
        obj, active = self._registry.active(pool)
        if not need_results:
            return [], len(active.volumes)
        if len(active.volumes) > MAX_LISTED:
            detail = (
                f"pool '{obj.name}' has {len(active.volumes)} volumes; the limit is {MAX_LISTED}"
            )
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.STORAGE)
        volumes = [obj.volume_identity(volume) for volume in active.volumes.values()]
        return volumes, len(volumes)

    def storage_vol_lookup_by_name(self, call: ClientCall, pool: PoolId, name: str) -> VolumeId:
        """Look a volume of a pool up by its name."""
        call.cacheable = True
        obj = self._registry.find(pool)
        _, _, volume = self._registry.volume(VolumeId(obj.name, name, ""))
        return obj.volume_identity(volume)

    def storage_vol_lookup_by_key(self, call: ClientCall, key: str) -> VolumeId:
        """Look a volume up by its key."""
        call.cacheable = True
        return self._registry.by_key(key)

    def storage_vol_lookup_by_path(self, call: ClientCall, path: str) -> VolumeId:
        """Look a volume up by its path."""
        call.cacheable = True
        return self._registry.by_path(path)

    def storage_vol_get_path(self, call: ClientCall, vol: VolumeId) -> str:
        """Return a volume's path."""
        call.cacheable = True
        return self._registry.volume(vol)[2].path

    # Sizes are read at each call: a running guest extends its images.

    async def storage_vol_get_info(self, call: ClientCall, vol: VolumeId) -> tuple[int, int, int]:
        """Return a volume's type, capacity and allocation."""
        return await self.storage_vol_get_info_flags(call, vol, 0)

    async def storage_vol_get_info_flags(
        self, call: ClientCall, vol: VolumeId, flags: int
    ) -> tuple[int, int, int]:
        """Return a volume's type, capacity and allocation, or its physical size (GET_PHYSICAL)."""
        STORAGE_ERRORS.check_flags(
            "storageVolGetInfoFlags", flags, StorageVolInfoFlags.GET_PHYSICAL
        )
        volume = await self._refreshed(vol)
        physical = flags & StorageVolInfoFlags.GET_PHYSICAL
        second = volume.physical if physical else volume.allocation
        return TYPES[volume.type], volume.capacity, second

    async def storage_vol_get_xml_desc(self, call: ClientCall, vol: VolumeId, flags: int) -> str:
        """Return a volume's XML."""
        STORAGE_ERRORS.check_flags("storageVolGetXMLDesc", flags)
        return format_volume_info(await self._refreshed(vol))

    @handles(ResolveVolume)
    def resolve_volume(self, request: ResolveVolume) -> ResolvedVolume:
        """Return the path of <source pool='' volume=''/> to the worker of a guest."""
        _, _, volume = self._registry.volume(VolumeId(request.pool, request.volume, ""))
        disk_type = DISK_TYPES.get(volume.type, volume.type)
        return ResolvedVolume(type=disk_type, path=volume.path, format=volume.format)

    async def _refreshed(self, identity: VolumeId) -> VolumeInfo:
        _, active, volume = self._registry.volume(identity)
        return await self._pools.refresh_volume(active, volume)
