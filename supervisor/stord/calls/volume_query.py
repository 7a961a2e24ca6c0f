"""stord's calls that look at volumes. Lists and lookups are answered from memory.

Owns: one method per procedure, named as in the table.
May touch: a volume's file, to see its sizes now, by its pool's backend.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import StorageVolInfoFlags, StorageVolType
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.stord.pool import ActivePool
from supervisor.stord.pool_xml import format_volume_info
from supervisor.stord.registry import PoolRegistry
from supervisor.stord.volume_info import VolumeInfo

MAX_LISTED: Final = 16384  # the protocol's limit
TYPES: Final = {kind.name.lower(): kind for kind in StorageVolType}


class VolumeQueryCalls:
    """What clients may ask about volumes."""

    def __init__(self, registry: PoolRegistry) -> None:
        """Answer from these."""
        self._registry = registry

    # Lists and lookups.

    def storage_pool_num_of_volumes(self, call: ClientCall, pool: PoolId) -> int:
        """How many volumes an active pool has."""
        call.cacheable = True
        return len(self._registry.active(pool)[1].volumes)

    def storage_pool_list_volumes(self, call: ClientCall, pool: PoolId, maxnames: int) -> list[str]:
        """The names of an active pool's volumes."""
        call.cacheable = True
        return list(self._registry.active(pool)[1].volumes)[: min(max(0, maxnames), MAX_LISTED)]

    def storage_pool_list_all_volumes(
        self, call: ClientCall, pool: PoolId, need_results: int, flags: int
    ) -> tuple[list[VolumeId], int]:
        """Every volume of an active pool."""
        call.cacheable = True
        STORAGE_ERRORS.check_flags("storagePoolListAllVolumes", flags)
        obj, active = self._registry.active(pool)
        if not need_results:
            return [], len(active.volumes)
        if len(active.volumes) > MAX_LISTED:
            detail = f"pool '{obj.name}' has {len(active.volumes)} volumes; {MAX_LISTED} fit a list"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.STORAGE)
        found = [obj.volume_identity(volume) for volume in active.volumes.values()]
        return found, len(found)

    def storage_vol_lookup_by_name(self, call: ClientCall, pool: PoolId, name: str) -> VolumeId:
        """Find a volume of a pool by its name."""
        call.cacheable = True
        obj = self._registry.find(pool)
        _, _, volume = self._registry.volume(VolumeId(obj.name, name, ""))
        return obj.volume_identity(volume)

    def storage_vol_lookup_by_key(self, call: ClientCall, key: str) -> VolumeId:
        """Find a volume by its key."""
        call.cacheable = True
        return self._registry.by_key(key)

    def storage_vol_lookup_by_path(self, call: ClientCall, path: str) -> VolumeId:
        """Find a volume by its path."""
        call.cacheable = True
        return self._registry.by_path(path)

    def storage_vol_get_path(self, call: ClientCall, vol: VolumeId) -> str:
        """Where a volume appears."""
        call.cacheable = True
        return self._registry.volume(vol)[2].path

    # Describing: sizes are those of this moment.

    async def storage_vol_get_info(self, call: ClientCall, vol: VolumeId) -> tuple[int, int, int]:
        """A volume's type and sizes."""
        return await self.storage_vol_get_info_flags(call, vol, 0)

    async def storage_vol_get_info_flags(
        self, call: ClientCall, vol: VolumeId, flags: int
    ) -> tuple[int, int, int]:
        """A volume's type and sizes; the second is how long its file is, if flags want that."""
        STORAGE_ERRORS.check_flags(
            "storageVolGetInfoFlags", flags, StorageVolInfoFlags.GET_PHYSICAL
        )
        volume = await self._refreshed(vol)
        physical = flags & StorageVolInfoFlags.GET_PHYSICAL
        second = volume.physical if physical else volume.allocation
        return TYPES[volume.type], volume.capacity, second

    async def storage_vol_get_xml_desc(self, call: ClientCall, vol: VolumeId, flags: int) -> str:
        """A volume's document."""
        STORAGE_ERRORS.check_flags("storageVolGetXMLDesc", flags)
        return format_volume_info(await self._refreshed(vol))

    async def _refreshed(self, identity: VolumeId) -> VolumeInfo:
        _, active, volume = self._registry.volume(identity)
        return await refresh_volume(active, volume)


async def refresh_volume(active: ActivePool, volume: VolumeInfo) -> VolumeInfo:
    """A volume as it is at this moment, which is remembered.

    Raises:
        VirError: NO_STORAGE_VOL when its file has gone; OPERATION_TIMEOUT.
    """
    try:
        found = await active.backend.refresh_volume(volume)
    except VirError as error:
        if error.code == ErrorCode.NO_STORAGE_VOL and active.volumes.get(volume.name) is volume:
            del active.volumes[volume.name]
        raise
    if active.volumes.get(volume.name) is volume:
        active.volumes[volume.name] = found
    return found
