"""virStorageVolCreateXML and virStorageVolCreateXMLFrom.

Owns: the order of the steps by which a volume is created, cloned and listed.
May touch: volumes, through the backend of their pool.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from conf.storage import Volume
from rpc.enums import StorageVolCreateFlags as Create
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.dispatch.schema import require_valid
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.runtime.shield import run_to_completion
from supervisor.stord.backends.base import CloneSource, CreateOptions
from supervisor.stord.client_tasks import ClientTasks
from supervisor.stord.pool import ActivePool, PoolObject
from supervisor.stord.pool_process.messages import CopyRaw
from supervisor.stord.pool_xml import parse_volume_xml
from supervisor.stord.pools import Pools
from supervisor.stord.progress_log import operation
from supervisor.stord.registry import PoolRegistry
from supervisor.stord.secrets import encryption_secret
from supervisor.stord.volume_info import NewVolume, VolumeInfo

log = logging.getLogger(__name__)


class VolumeCreateCalls:
    """Creates volumes, empty or as clones."""

    def __init__(
        self,
        registry: PoolRegistry,
        pools: Pools,
        publisher: Publisher,
        keep_running: KeepRunningVote,
        client_tasks: ClientTasks,
    ) -> None:
        self._registry = registry
        self._pools = pools
        self._publisher = publisher
        self._keep_running = keep_running
        self._client_tasks = client_tasks

    async def storage_vol_create_xml(
        self, call: ClientCall, pool: PoolId, xml: str, flags: int
    ) -> VolumeId:
        """Create a volume.

        Raises:
            VirError: STORAGE_VOL_EXIST; those of the XML and of the pool's backend.
        """
        STORAGE_ERRORS.check_flags(
            "storageVolCreateXML", flags, Create.PREALLOC_METADATA | Create.VALIDATE
        )
        started = time.monotonic()
        obj, active = self._registry.active(pool)
        await require_valid(xml, "storagevol.rng", Volume, flags & Create.VALIDATE)
        definition = parse_volume_xml(xml, active.pool.type)
        options = CreateOptions(preallocate=bool(flags & Create.PREALLOC_METADATA))
        with self._creation(call, active, definition.name):
            made = await create_volume(obj, active, definition, options)
            return await self._list(obj, active, made, started)

    async def storage_vol_create_xml_from(
        self, call: ClientCall, pool: PoolId, xml: str, clonevol: VolumeId, flags: int
    ) -> VolumeId:
        """Create a volume with the content of another one.

        Raises:
            VirError: as `storage_vol_create_xml`; NO_STORAGE_VOL.
        """
        supported = Create.PREALLOC_METADATA | Create.REFLINK | Create.VALIDATE
        STORAGE_ERRORS.check_flags("storageVolCreateXMLFrom", flags, supported)
        started = time.monotonic()
        obj, active = self._registry.active(pool)
        await require_valid(xml, "storagevol.rng", Volume, flags & Create.VALIDATE)
        _, source_pool, source = self._registry.volume(clonevol)
        definition = parse_volume_xml(xml, active.pool.type, is_copy=True)
        with (
            source_pool.hold_volume(source.name),
            self._creation(call, active, definition.name),
        ):
            made = await self._clone_at_once(active, definition, source_pool, source, flags)
            if made is not None:
                return await self._list(obj, active, made, started)
            source = await self._pools.refresh_volume(source_pool, source)
            definition.capacity = max(definition.capacity or 0, source.capacity)
            options = CreateOptions(
                preallocate=bool(flags & Create.PREALLOC_METADATA),
                reflink=bool(flags & Create.REFLINK),
                clone_source=clone_source(source, definition),
            )
            made = await create_volume(obj, active, definition, options)
            return await self._list(obj, active, made, started)

    async def _clone_at_once(
        self,
        active: ActivePool,
        definition: Volume,
        source_pool: ActivePool,
        source: VolumeInfo,
        flags: int,
    ) -> NewVolume | None:
        """Clone a small volume of the same pool; None: see `Backend.clone_at_once`.

        Raises:
            VirError: NO_STORAGE_VOL: the source is gone, and not listed any more; the backend's.
        """
        if active is not source_pool:
            return None
        options = CreateOptions(
            preallocate=bool(flags & Create.PREALLOC_METADATA),
            reflink=bool(flags & Create.REFLINK),
        )
        try:
            return await active.backend.clone_at_once(definition, source, options)
        except VirError as error:
            if error.code == ErrorCode.NO_STORAGE_VOL:
                await self._pools.refresh_volume(source_pool, source)
            raise

    @contextmanager
    def _creation(self, call: ClientCall, active: ActivePool, name: str) -> Iterator[None]:
        """Reserve the volume's name while the body creates it; cancel the body with its client.

        Raises:
            VirError: STORAGE_VOL_EXIST.
        """
        with (
            self._client_tasks.cancel_on_close(call.client.id),
            active.reserve_name(name),
            self._keep_running.hold(),
            operation(f"creation of volume '{name}' of pool '{active.pool.name}'"),
        ):
            yield

    async def _list(
        self, obj: PoolObject, active: ActivePool, made: NewVolume, started: float
    ) -> VolumeId:
        """List a volume that was created."""
        volume = made.volume
        # No await between the creation and its listing: a client that closes in between would
        # leave a volume that nothing lists.
        self._publisher.invalidate()
        active.volumes[volume.name] = volume
        log.info(
            "volume '%s' of pool '%s' was created in %.2f s",
            volume.name,
            obj.name,
            time.monotonic() - started,
        )
        if made.space is not None:
            active.space = made.space
        else:
            await self._pools.update_space(active)
        return obj.volume_identity(volume)


def clone_source(volume: VolumeInfo, definition: Volume) -> CloneSource:
    """Return the source of a clone; an encrypted one is read with the secret of the clone's XML."""
    encryption = definition.target.encryption
    if volume.encryption and encryption is not None:
        return CloneSource(volume, encryption_secret(encryption))
    return CloneSource(volume)


async def create_volume(
    obj: PoolObject, active: ActivePool, definition: Volume, options: CreateOptions
) -> NewVolume:
    """Create a volume on the pool's storage; on failure nothing is left of it.

    Raises:
        VirError: the backend's.
    """
    if active.backend.copies_data:
        return await active.backend.create_volume(definition, options)
    async with obj.change_lock.hold("create a volume"):
        made = await active.backend.create_volume(
            definition, CreateOptions(preallocate=options.preallocate)
        )
    if options.clone_source is not None:
        await copy_to_device(active, made.volume, options.clone_source.volume)
    return made


async def copy_to_device(active: ActivePool, volume: VolumeInfo, source: VolumeInfo) -> None:
    """Copy a raw volume into a new block device; on failure delete the new volume.

    Raises:
        VirError: NO_SUPPORT for another format: its bytes would not be a guest's disk.
    """
    try:
        if source.format not in ("raw", "iso", "") or source.encryption:
            detail = (
                f"volume '{source.name}' is of format '{source.format}'; "
                "only raw ones can be copied to a device"
            )
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
        request = CopyRaw(
            source=source.path, target=volume.path, size=volume.capacity, is_new=False
        )
        await active.process.call_dedicated(request)
    except BaseException:
        await run_to_completion(active.backend.delete_volume(volume, zeroed=False))
        raise
