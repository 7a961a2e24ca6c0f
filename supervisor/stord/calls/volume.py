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
from supervisor.stord.backends.base import Creation, Original, Resizing
from supervisor.stord.backends.directory import secret_of
from supervisor.stord.calls.volume_query import look_again
from supervisor.stord.client_tasks import Clients
from supervisor.stord.pool import ActivePool, PoolObject
from supervisor.stord.pool_process.messages import CopyRaw, Wipe
from supervisor.stord.pool_xml import read_volume
from supervisor.stord.pools import Pools
from supervisor.stord.program_fds import Inherited
from supervisor.stord.progress_log import doing
from supervisor.stord.registry import Registry
from supervisor.stord.resize_check import target_capacity
from supervisor.stord.volume_info import VolumeFacts

#: What the program scrub calls the algorithms.
SCRUB: Final = {
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


class Volumes:
    """What clients may do with volumes."""

    def __init__(
        self,
        registry: Registry,
        pools: Pools,
        publisher: Publisher,
        keep_running: KeepRunningVote,
        clients: Clients,
    ) -> None:
        """Work on these."""
        self._clients = clients
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
        entry, now = self._registry.active(pool)
        wanted = read_volume(xml, now.pool.type)
        how = Creation(preallocate=bool(flags & Create.PREALLOC_METADATA))
        with self._clients.waits(call.client.id):
            return await self._create(entry, now, wanted, how)

    async def storage_vol_create_xml_from(
        self, call: ClientCall, pool: PoolId, xml: str, clonevol: VolumeId, flags: int
    ) -> VolumeId:
        """Make a volume that is a copy of another one.

        Raises:
            VirError: as `storage_vol_create_xml`; NO_STORAGE_VOL.
        """
        known = Create.PREALLOC_METADATA | Create.REFLINK | Create.VALIDATE
        STORAGE_ERRORS.check_flags("storageVolCreateXMLFrom", flags, known)
        entry, now = self._registry.active(pool)
        _, theirs, volume = self._registry.volume(clonevol)
        wanted = read_volume(xml, now.pool.type, is_copy=True)
        with theirs.using(volume.name), self._clients.waits(call.client.id):
            volume = await look_again(theirs, volume)
            wanted.capacity = max(wanted.capacity or 0, volume.capacity)
            secret = wanted.target.encryption
            how = Creation(
                preallocate=bool(flags & Create.PREALLOC_METADATA),
                reflink=bool(flags & Create.REFLINK),
                original=Original(
                    volume, secret_of(secret) if volume.encryption and secret else None
                ),
            )
            return await self._create(entry, now, wanted, how)

    async def _create(
        self, entry: PoolObject, now: ActivePool, wanted: Volume, how: Creation
    ) -> VolumeId:
        with now.making_volume(wanted.name), self._keep_running.hold():
            began = time.monotonic()
            with doing(f"volume '{wanted.name}' of pool '{entry.name}' is being made"):
                made = await self._make(entry, now, wanted, how)
            log.info(
                "volume '%s' of pool '%s' was made in %.2f s",
                made.name,
                entry.name,
                time.monotonic() - began,
            )
            now.volumes[made.name] = made
        await self._pools.measure(now)
        return entry.volume_identity(made)

    async def _make(
        self, entry: PoolObject, now: ActivePool, wanted: Volume, how: Creation
    ) -> VolumeFacts:
        async with AsyncExitStack() as held:
            if not now.backend.is_slow_to_create:
                await held.enter_async_context(entry.job.hold("create a volume"))
            if now.backend.fills_volumes:
                return await now.backend.create_volume(wanted, how)
            made = await now.backend.create_volume(wanted, Creation(preallocate=how.preallocate))
        if how.original is not None:
            await self._fill(now, made, how.original)
        return made

    async def _fill(self, now: ActivePool, made: VolumeFacts, original: Original) -> None:
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
            await now.work.call_alone(order)
        except BaseException:
            await run_to_completion(now.backend.delete_volume(made, zeroed=False))
            raise

    # Changing.

    async def storage_vol_delete(self, call: ClientCall, vol: VolumeId, flags: int) -> None:
        """Delete a volume.

        Raises:
            VirError: OPERATION_INVALID while it is used.
        """
        STORAGE_ERRORS.check_flags("storageVolDelete", flags, Delete.ZEROED | Delete.WITH_SNAPSHOTS)
        _, now, volume = self._registry.volume(vol)
        if flags & Delete.WITH_SNAPSHOTS:
            detail = f"pools of type '{now.pool.type}' know no snapshots of volumes"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        async with self._alone(call, now, volume, "deleted"):
            await now.backend.delete_volume(volume, zeroed=bool(flags & Delete.ZEROED))
            self._publisher.invalidate()
            now.volumes.pop(volume.name, None)
        await self._pools.measure(now)

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
        _, now, volume = self._registry.volume(vol)
        async with self._alone(call, now, volume, "resized"):
            volume = await look_again(now, volume)
            wanted = target_capacity(volume, capacity, flags, now.space.available)
            how = Resizing(
                allocate=bool(flags & Resize.ALLOCATE), shrink=bool(flags & Resize.SHRINK)
            )
            await now.backend.resize_volume(volume, wanted, how)
            self._publisher.invalidate()
            await look_again(now, volume)
        await self._pools.measure(now)

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
        _, now, volume = self._registry.volume(vol)
        async with self._alone(call, now, volume, "wiped"):
            await wipe(now, volume, Algorithm(algorithm))
            self._publisher.invalidate()
            await look_again(now, volume)

    @asynccontextmanager
    async def _alone(
        self, call: ClientCall, now: ActivePool, volume: VolumeFacts, word: str
    ) -> AsyncIterator[None]:
        """Use a volume that nobody else uses; it "is being `word`".

        Raises:
            VirError: OPERATION_INVALID.
        """
        if now.used[volume.name]:
            raise STORAGE_ERRORS.operation_invalid(f"volume '{volume.name}' is still in use.")
        with (
            now.using(volume.name),
            self._keep_running.hold(),
            self._clients.waits(call.client.id),
            doing(f"volume '{volume.name}' of pool '{now.pool.name}' is being {word}"),
        ):
            yield


async def wipe(now: ActivePool, volume: VolumeFacts, algorithm: Algorithm) -> None:
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
        await now.work.call_alone(Wipe(path=volume.path))
        return
    async with Inherited(now.work) as inherited:
        image = await inherited.volume(replace(volume, format="raw"), writable=True)
        argv = ["scrub", "-f", "-p", SCRUB[algorithm], image.path]
        descriptors = list(inherited.names)
        ended = await commands.run(argv, deadline_s=commands.LONG_S, descriptors=descriptors)
        if ended.code != 0:
            raise commands.failed(argv, ended, inherited.named)
