"""stord's calls that make, copy, wipe, resize and delete volumes.

Owns: one method per procedure, named as in the table; who may use a volume meanwhile.
May touch: volumes, by their pools' backends. What takes long does not hold its pool's job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from msgspec.structs import replace

from conf.storage import Volume
from rpc.enums import StorageVolCreateFlags as Create
from rpc.enums import StorageVolDeleteFlags as Delete
from rpc.enums import StorageVolResizeFlags as Resize
from rpc.enums import StorageVolWipeAlgorithm as Algorithm
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.runtime.shield import run_to_completion
from supervisor.stord import commands
from supervisor.stord.backends.base import CloneSource, CreateOptions, ResizeOptions
from supervisor.stord.backends.directory import secret_of
from supervisor.stord.calls.volume_query import refresh_volume
from supervisor.stord.client_tasks import ClientTasks
from supervisor.stord.pool import ActivePool, PoolObject
from supervisor.stord.pool_process.messages import CopyRaw, Wipe
from supervisor.stord.pool_xml import parse_volume_xml
from supervisor.stord.pools import Pools
from supervisor.stord.program_fds import ProgramFds
from supervisor.stord.progress_log import operation
from supervisor.stord.registry import PoolRegistry
from supervisor.stord.resize_check import target_capacity
from supervisor.stord.volume_info import VolumeInfo

#: What the program scrub calls the algorithms.
SCRUB_PATTERNS: Final = {
    Algorithm.NNSA: "nnsa",
    Algorithm.DOD: "dod",
    Algorithm.BSI: "bsi",
    Algorithm.GUTMANN: "gutmann",
    Algorithm.SCHNEIER: "schneier",
    Algorithm.PFITZNER7: "pfitzner7",
    Algorithm.PFITZNER33: "pfitzner33",
    Algorithm.RANDOM: "random",
}

log = logging.getLogger(__name__)


class VolumeCalls:
    """What clients may do with volumes."""

    def __init__(
        self,
        registry: PoolRegistry,
        pools: Pools,
        publisher: Publisher,
        keep_running: KeepRunningVote,
        client_tasks: ClientTasks,
    ) -> None:
        """Work on these."""
        self._client_tasks = client_tasks
        self._registry = registry
        self._pools = pools
        self._publisher = publisher
        self._keep_running = keep_running

    # Making.

    async def storage_vol_create_xml(
        self, call: ClientCall, pool: PoolId, xml: str, flags: int
    ) -> VolumeId:
        """Make a volume.

        Raises:
            VirError: STORAGE_VOL_EXIST; what the document asks for cannot be.
        """
        STORAGE_ERRORS.check_flags(
            "storageVolCreateXML", flags, Create.PREALLOC_METADATA | Create.VALIDATE
        )
        obj, active = self._registry.active(pool)
        wanted = parse_volume_xml(xml, active.pool.type)
        how = CreateOptions(preallocate=bool(flags & Create.PREALLOC_METADATA))
        with self._client_tasks.cancel_on_close(call.client.id):
            return await self._create(obj, active, wanted, how)

    async def storage_vol_create_xml_from(
        self, call: ClientCall, pool: PoolId, xml: str, clonevol: VolumeId, flags: int
    ) -> VolumeId:
        """Make a volume that is a copy of another one.

        Raises:
            VirError: as `storage_vol_create_xml`; NO_STORAGE_VOL.
        """
        known = Create.PREALLOC_METADATA | Create.REFLINK | Create.VALIDATE
        STORAGE_ERRORS.check_flags("storageVolCreateXMLFrom", flags, known)
        obj, active = self._registry.active(pool)
        _, theirs, volume = self._registry.volume(clonevol)
        wanted = parse_volume_xml(xml, active.pool.type, is_copy=True)
        with theirs.hold_volume(volume.name), self._client_tasks.cancel_on_close(call.client.id):
            volume = await refresh_volume(theirs, volume)
            wanted.capacity = max(wanted.capacity or 0, volume.capacity)
            secret = wanted.target.encryption
            how = CreateOptions(
                preallocate=bool(flags & Create.PREALLOC_METADATA),
                reflink=bool(flags & Create.REFLINK),
                clone_source=CloneSource(
                    volume, secret_of(secret) if volume.encryption and secret else None
                ),
            )
            return await self._create(obj, active, wanted, how)

    async def _create(
        self, obj: PoolObject, active: ActivePool, wanted: Volume, how: CreateOptions
    ) -> VolumeId:
        with active.reserve_name(wanted.name), self._keep_running.hold():
            began = time.monotonic()
            with operation(f"volume '{wanted.name}' of pool '{obj.name}' is being made"):
                made = await self._make(obj, active, wanted, how)
            log.info(
                "volume '%s' of pool '%s' was made in %.2f s",
                made.name,
                obj.name,
                time.monotonic() - began,
            )
            active.volumes[made.name] = made
        await self._pools.update_space(active)
        return obj.volume_identity(made)

    async def _make(
        self, obj: PoolObject, active: ActivePool, wanted: Volume, how: CreateOptions
    ) -> VolumeInfo:
        async with AsyncExitStack() as held:
            if not active.backend.is_slow_to_create:
                await held.enter_async_context(obj.change_lock.hold("create a volume"))
            if active.backend.copies_data:
                return await active.backend.create_volume(wanted, how)
            made = await active.backend.create_volume(
                wanted, CreateOptions(preallocate=how.preallocate)
            )
        if how.clone_source is not None:
            await self._fill(active, made, how.clone_source)
        return made

    async def _fill(self, active: ActivePool, made: VolumeInfo, original: CloneSource) -> None:
        """Copy into a volume that its backend has made; on failure it is gone again."""
        try:
            if original.volume.format not in ("raw", "iso", "") or original.volume.encryption:
                detail = (
                    f"volume '{original.volume.name}' is of format '{original.volume.format}'; "
                    "only raw ones can be copied to a device"
                )
                raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
            order = CopyRaw(
                source=original.volume.path, target=made.path, size=made.capacity, is_new=False
            )
            await active.process.call_dedicated(order)
        except BaseException:
            await run_to_completion(active.backend.delete_volume(made, zeroed=False))
            raise

    # Changing.

    async def storage_vol_delete(self, call: ClientCall, vol: VolumeId, flags: int) -> None:
        """Delete a volume.

        Raises:
            VirError: OPERATION_INVALID while it is used.
        """
        STORAGE_ERRORS.check_flags("storageVolDelete", flags, Delete.ZEROED | Delete.WITH_SNAPSHOTS)
        _, active, volume = self._registry.volume(vol)
        if flags & Delete.WITH_SNAPSHOTS:
            detail = f"pools of type '{active.pool.type}' know no snapshots of volumes"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        async with self._exclusive(call, active, volume, "deleted"):
            await active.backend.delete_volume(volume, zeroed=bool(flags & Delete.ZEROED))
            self._publisher.invalidate()
            active.volumes.pop(volume.name, None)
        await self._pools.update_space(active)

    async def storage_vol_resize(
        self, call: ClientCall, vol: VolumeId, capacity: int, flags: int
    ) -> None:
        """Give a volume another capacity.

        Raises:
            VirError: INVALID_ARG, OPERATION_FAILED for a size that cannot be.
        """
        STORAGE_ERRORS.check_flags(
            "storageVolResize", flags, Resize.ALLOCATE | Resize.DELTA | Resize.SHRINK
        )
        _, active, volume = self._registry.volume(vol)
        async with self._exclusive(call, active, volume, "resized"):
            volume = await refresh_volume(active, volume)
            wanted = target_capacity(volume, capacity, flags, active.space.available)
            how = ResizeOptions(
                allocate=bool(flags & Resize.ALLOCATE), shrink=bool(flags & Resize.SHRINK)
            )
            await active.backend.resize_volume(volume, wanted, how)
            self._publisher.invalidate()
            await refresh_volume(active, volume)
        await self._pools.update_space(active)

    async def storage_vol_wipe(self, call: ClientCall, vol: VolumeId, flags: int) -> None:
        """Write zeros over a volume."""
        await self.storage_vol_wipe_pattern(call, vol, Algorithm.ZERO, flags)

    async def storage_vol_wipe_pattern(
        self, call: ClientCall, vol: VolumeId, algorithm: int, flags: int
    ) -> None:
        """Write over a volume so that nobody reads again what was in it.

        Raises:
            VirError: INVALID_ARG for an unknown algorithm; CONFIG_UNSUPPORTED without scrub.
        """
        STORAGE_ERRORS.check_flags("storageVolWipePattern", flags)
        if algorithm not in list(Algorithm):
            detail = f"wiping algorithm {algorithm} not supported"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        _, active, volume = self._registry.volume(vol)
        async with self._exclusive(call, active, volume, "wiped"):
            await wipe(active, volume, Algorithm(algorithm))
            self._publisher.invalidate()
            await refresh_volume(active, volume)

    @asynccontextmanager
    async def _exclusive(
        self, call: ClientCall, active: ActivePool, volume: VolumeInfo, operation_name: str
    ) -> AsyncIterator[None]:
        """Use a volume that nobody else uses; it "is being `operation_name`".

        Raises:
            VirError: OPERATION_INVALID.
        """
        if active.holds[volume.name]:
            raise STORAGE_ERRORS.operation_invalid(f"volume '{volume.name}' is still in use.")
        with (
            active.hold_volume(volume.name),
            self._keep_running.hold(),
            self._client_tasks.cancel_on_close(call.client.id),
            operation(
                f"volume '{volume.name}' of pool '{active.pool.name}' is being {operation_name}"
            ),
        ):
            yield


async def wipe(active: ActivePool, volume: VolumeInfo, algorithm: Algorithm) -> None:
    """Write over a volume.

    Raises:
        VirError: ARGUMENT_UNSUPPORTED, CONFIG_UNSUPPORTED, INTERNAL_ERROR.
    """
    if algorithm is Algorithm.TRIM:
        detail = "'trim' algorithm not supported for volumes in files and on devices; take zero"
        raise VirError(ErrorCode.ARGUMENT_UNSUPPORTED, detail, ErrorDomain.STORAGE)
    if volume.type in ("dir", "ploop"):
        raise STORAGE_ERRORS.operation_invalid(
            f"volume '{volume.name}' is a folder: there is nothing to write over"
        )
    if algorithm is Algorithm.ZERO:
        await active.process.call_dedicated(Wipe(path=volume.path))
        return
    async with ProgramFds(active.process) as inherited:
        image = await inherited.open_volume(replace(volume, format="raw"), writable=True)
        argv = ["scrub", "-f", "-p", SCRUB_PATTERNS[algorithm], image.path]
        descriptors = list(inherited.names)
        completed = await commands.run(argv, deadline_s=commands.LONG_S, descriptors=descriptors)
        if completed.code != 0:
            raise commands.failed(argv, completed, inherited.replace_paths)
