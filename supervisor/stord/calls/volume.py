"""Calls that delete, resize and wipe volumes.

Owns: one method per procedure, named as in the table; exclusive use of a volume meanwhile.
May touch: volumes, through the backend of their pool. Long operations do not hold the pool's job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from msgspec.structs import replace

from rpc.enums import StorageVolDeleteFlags as Delete
from rpc.enums import StorageVolResizeFlags as Resize
from rpc.enums import StorageVolWipeAlgorithm as Algorithm
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.runtime.shield import run_to_completion
from supervisor.stord import commands
from supervisor.stord.backends.base import ResizeOptions
from supervisor.stord.client_tasks import ClientTasks
from supervisor.stord.pool import ActivePool
from supervisor.stord.pool_process.messages import Wipe
from supervisor.stord.pools import Pools
from supervisor.stord.program_fds import ProgramFds
from supervisor.stord.progress_log import operation
from supervisor.stord.registry import PoolRegistry
from supervisor.stord.volume_info import VolumeInfo

MAX_BYTES: Final = 2**63 - 1  # off_t
#: Patterns of scrub(1).
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


class VolumeCalls:
    """Deletes, resizes and wipes volumes."""

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

    async def storage_vol_delete(self, call: ClientCall, vol: VolumeId, flags: int) -> None:
        """Delete a volume.

        Raises:
            VirError: OPERATION_INVALID while it is in use.
        """
        STORAGE_ERRORS.check_flags("storageVolDelete", flags, Delete.ZEROED | Delete.WITH_SNAPSHOTS)
        _, active, volume = self._registry.volume(vol)
        if flags & Delete.WITH_SNAPSHOTS:  # snapshots of volumes are RBD's
            raise STORAGE_ERRORS.invalid_arg(
                f"volumes of pools of type '{active.pool.type}' have no snapshots"
            )
        with self._exclusive(call, active, volume, "deletion"):
            try:
                space = await active.backend.delete_volume(
                    volume, zeroed=bool(flags & Delete.ZEROED)
                )
            except BaseException:
                # The request may have been carried out although its reply was lost: stop listing
                # a volume that does not exist.
                with suppress(VirError):
                    await run_to_completion(self._pools.refresh_volume(active, volume))
                raise
            self._publisher.invalidate()
            active.volumes.pop(volume.name, None)
            if space is not None:
                active.space = space
            else:
                await self._pools.update_space(active)

    async def storage_vol_resize(
        self, call: ClientCall, vol: VolumeId, capacity: int, flags: int
    ) -> None:
        """Change a volume's capacity.

        Raises:
            VirError: INVALID_ARG, OPERATION_FAILED, OVERFLOW for an impossible capacity.
        """
        STORAGE_ERRORS.check_flags(
            "storageVolResize", flags, Resize.ALLOCATE | Resize.DELTA | Resize.SHRINK
        )
        _, active, volume = self._registry.volume(vol)
        with self._exclusive(call, active, volume, "resize"):
            volume = await self._pools.refresh_volume(active, volume)
            target = target_capacity(volume, capacity, flags, active.space.available)
            options = ResizeOptions(
                allocate=bool(flags & Resize.ALLOCATE), shrink=bool(flags & Resize.SHRINK)
            )
            await active.backend.resize_volume(volume, target, options)
            await self._pools.refresh_volume(active, volume)
            await self._pools.update_space(active)

    async def storage_vol_wipe(self, call: ClientCall, vol: VolumeId, flags: int) -> None:
        """Overwrite a volume with zeros."""
        await self.storage_vol_wipe_pattern(call, vol, Algorithm.ZERO, flags)

    async def storage_vol_wipe_pattern(
        self, call: ClientCall, vol: VolumeId, algorithm: int, flags: int
    ) -> None:
        """Overwrite a volume by an algorithm.

        Raises:
            VirError: INVALID_ARG for an unknown algorithm; SYSTEM_ERROR without scrub.
        """
        STORAGE_ERRORS.check_flags("storageVolWipePattern", flags)
        if algorithm not in list(Algorithm):
            raise STORAGE_ERRORS.invalid_arg(f"wiping algorithm {algorithm} not supported")
        _, active, volume = self._registry.volume(vol)
        with self._exclusive(call, active, volume, "wipe"):
            await wipe(active, volume, Algorithm(algorithm))
            await self._pools.refresh_volume(active, volume)

    @contextmanager
    def _exclusive(
        self, call: ClientCall, active: ActivePool, volume: VolumeInfo, operation_name: str
    ) -> Iterator[None]:
        """Hold a volume that nothing else uses; cancel the body with its client.

        Raises:
            VirError: OPERATION_INVALID: the volume is in use.
        """
        if active.holds[volume.name]:
            raise STORAGE_ERRORS.operation_invalid(f"volume '{volume.name}' is still in use.")
        with (
            self._client_tasks.cancel_on_close(call.client.id),
            active.hold_volume(volume.name),
            self._keep_running.hold(),
            operation(f"{operation_name} of volume '{volume.name}' of pool '{active.pool.name}'"),
        ):
            yield


def target_capacity(volume: VolumeInfo, capacity: int, flags: int, available: int) -> int:
    """Return the capacity that virStorageVolResize asks for, in bytes. Pure.

    Args:
        volume: its current state.
        capacity: the client's number: a size, or with DELTA a difference (SHRINK subtracts it).
        flags: virStorageVolResizeFlags.
        available: free bytes of the pool.

    Raises:
        VirError: INVALID_ARG, OPERATION_FAILED, OVERFLOW.
    """
    target = capacity
    if flags & Resize.DELTA:
        shrink = flags & Resize.SHRINK
        target = max(volume.capacity - capacity, 0) if shrink else volume.capacity + capacity
    if target > MAX_BYTES:
        detail = f"capacity {target} of volume '{volume.name}' exceeds {MAX_BYTES} bytes"
        raise VirError(ErrorCode.OVERFLOW, detail, ErrorDomain.STORAGE)
    if target < volume.allocation and target < volume.capacity:
        raise STORAGE_ERRORS.invalid_arg("can't shrink capacity below existing allocation")
    if target < volume.capacity and not flags & Resize.SHRINK:
        detail = "Can't shrink capacity below current capacity unless shrink flag is specified"
        raise STORAGE_ERRORS.invalid_arg(detail)
    if flags & Resize.ALLOCATE and target > volume.capacity + available:
        detail = f"Not enough space left in storage pool: {available} bytes are available"
        raise STORAGE_ERRORS.operation_failed(detail)
    return target


async def wipe(active: ActivePool, volume: VolumeInfo, algorithm: Algorithm) -> None:
    """Overwrite a volume.

    Raises:
        VirError: ARGUMENT_UNSUPPORTED, SYSTEM_ERROR, INTERNAL_ERROR.
    """
    if algorithm is Algorithm.TRIM:  # ploop volumes only
        detail = "'trim' algorithm not supported for file and block volumes; use zero"
        raise VirError(ErrorCode.ARGUMENT_UNSUPPORTED, detail, ErrorDomain.STORAGE)
    if volume.type in ("dir", "ploop"):
        raise STORAGE_ERRORS.operation_invalid(
            f"volume '{volume.name}' is a directory: it has no bytes to wipe"
        )
    if algorithm is Algorithm.ZERO:
        await active.process.call_dedicated(Wipe(path=volume.path))
        return
    async with ProgramFds(active.process) as fds:
        # As raw: scrub writes over all of it, whatever it contains.
        image = await fds.open_volume(replace(volume, format="raw"), writable=True)
        argv = ["scrub", "-f", "-p", SCRUB_PATTERNS[algorithm], image.path]
        completed = await commands.run(
            argv, deadline_s=commands.LONG_S, descriptors=list(fds.names)
        )
        if completed.code != 0:
            raise commands.failed(argv, completed, fds.replace_paths)
