"""virStorageVolUpload and virStorageVolDownload.

Owns: the running transfers. A dedicated process copies between the volume and a socket, which rpcd
pumps to the client. May touch: volumes, through these processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ipc import Ack, Descriptor, Request, handles
from rpc.enums import StorageVolDownloadFlags, StorageVolUploadFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.events import KeepRunningVote
from supervisor.dispatch.service_errors import STORAGE_ERRORS
from supervisor.messages.calls import StreamEnd
from supervisor.stord.calls.volume import MAX_BYTES
from supervisor.stord.pool import ActivePool
from supervisor.stord.pool_process.messages import Receive, Send
from supervisor.stord.pools import Pools
from supervisor.stord.progress_log import operation
from supervisor.stord.registry import PoolRegistry
from supervisor.stord.volume_info import VolumeInfo

ABORT_S: Final = 2.0  # for the process to see the end of file of an aborted stream
END_S: Final = 25.0  # for the last bytes to be written, below the 30 s of `StreamEnd`
BUFFER: Final = 1024 * 1024  # SO_SNDBUF of both ends

log = logging.getLogger(__name__)

#: Makes the request for a transfer's process from its end of the socket.
MakeRequest = Callable[[Descriptor], Request[Ack]]


@dataclass(slots=True, eq=False)
class Transfer:
    """A running transfer."""

    task: asyncio.Task[None]
    volume: str  # for the log


class TransferCalls:
    """Starts uploads and downloads and reports how they end."""

    def __init__(self, registry: PoolRegistry, pools: Pools, keep_running: KeepRunningVote) -> None:
        self._keep_running = keep_running
        self._registry = registry
        self._pools = pools
        self._tokens = itertools.count(1)
        self._transfers: dict[str, Transfer] = {}

    async def storage_vol_upload(
        self, call: ClientCall, vol: VolumeId, offset: int, length: int, flags: int
    ) -> None:
        """Write the client's stream into a volume.

        Raises:
            VirError: INVALID_ARG for an offset beyond its end; OPERATION_INVALID while in use.
        """
        sparse = bool(flags & StorageVolUploadFlags.STREAM)
        STORAGE_ERRORS.check_flags("storageVolUpload", flags, StorageVolUploadFlags.STREAM)
        active, volume = await self._transferable(vol, offset, length)
        if active.holds[volume.name]:
            raise STORAGE_ERRORS.operation_invalid(f"volume '{volume.name}' is still in use.")

        def request(end: Descriptor) -> Receive:
            return Receive(
                path=volume.path, descriptor=end, offset=offset, length=length, sparse=sparse
            )

        self._start_transfer(call, active, volume, request, sparse=sparse)

    async def storage_vol_download(
        self, call: ClientCall, vol: VolumeId, offset: int, length: int, flags: int
    ) -> None:
        """Stream a volume's bytes to the client.

        Raises:
            VirError: INVALID_ARG for an offset beyond its end.
        """
        sparse = bool(flags & StorageVolDownloadFlags.STREAM)
        STORAGE_ERRORS.check_flags("storageVolDownload", flags, StorageVolDownloadFlags.STREAM)
        active, volume = await self._transferable(vol, offset, length)

        def request(end: Descriptor) -> Send:
            return Send(
                path=volume.path, descriptor=end, offset=offset, length=length, sparse=sparse
            )

        self._start_transfer(call, active, volume, request, sparse=sparse)

    @handles(StreamEnd)
    async def stream_end(self, request: StreamEnd) -> Ack:
        """Report how a transfer ended once the client has finished or aborted its stream.

        Raises:
            VirError: the volume could not be read or written.
        """
        transfer = self._transfers.pop(request.token, None)
        if transfer is None:
            return Ack()
        limit = ABORT_S if request.aborted else END_S
        done, _ = await asyncio.wait([transfer.task], timeout=limit)
        if done:
            await transfer.task
            return Ack()
        transfer.task.cancel()
        if request.aborted:
            return Ack()
        detail = f"volume '{transfer.volume}' was not written within {END_S:g} s"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE)

    def on_peer_lost(self, peer: str) -> None:
        """Forget the transfers of a lost rpcd; the kernel has closed its ends of their sockets."""
        if peer == "rpcd":
            self._transfers.clear()

    async def close(self) -> None:
        """Cancel every transfer."""
        tasks = [transfer.task for transfer in self._transfers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _transferable(
        self, vol: VolumeId, offset: int, length: int
    ) -> tuple[ActivePool, VolumeInfo]:
        _, active, volume = self._registry.volume(vol)
        if volume.type in ("dir", "ploop", "netdir"):
            raise STORAGE_ERRORS.operation_invalid(
                f"volume '{volume.name}' is a directory: it has no bytes to transfer"
            )
        volume = await self._pools.refresh_volume(active, volume)
        size = volume.physical or volume.capacity
        if offset > size:
            detail = f"the offset {offset} lies beyond the end of volume '{volume.name}', {size}"
            raise STORAGE_ERRORS.invalid_arg(detail)
        if offset + length > MAX_BYTES:
            raise STORAGE_ERRORS.invalid_arg(f"offset and length exceed {MAX_BYTES} bytes")
        return active, volume

    def _start_transfer(
        self,
        call: ClientCall,
        active: ActivePool,
        volume: VolumeInfo,
        make_request: MakeRequest,
        *,
        sparse: bool,
    ) -> None:
        process_end, client_end = socket.socketpair()
        for end in (process_end, client_end):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        token = f"{next(self._tokens)}"
        request = make_request(Descriptor(process_end.detach()))
        # Held from here on, not from the task's first step: another call may run before that.
        hold = contextlib.ExitStack()
        hold.enter_context(active.hold_volume(volume.name))
        task = asyncio.create_task(self._run_transfer(active, volume, request))
        task.add_done_callback(lambda _: hold.close())
        task.add_done_callback(_retrieve_exception)
        self._transfers[token] = Transfer(task, volume.name)
        call.set_stream(client_end.detach(), token, sparse=sparse)

    async def _run_transfer(
        self, active: ActivePool, volume: VolumeInfo, request: Request[Ack]
    ) -> None:
        with self._keep_running.hold():
            direction = "upload" if isinstance(request, Receive) else "download"
            try:
                with operation(
                    f"{direction} of volume '{volume.name}' of pool '{active.pool.name}'"
                ):
                    await active.process.call_dedicated(request)
            except VirError as error:
                log.error("the transfer of volume '%s' failed: %s", volume.name, error)
                raise
            if isinstance(request, Receive) and volume.name in active.volumes:
                await self._pools.refresh_volume(active, active.volumes[volume.name])
        await self._pools.update_space(active)


def _retrieve_exception(task: asyncio.Task[None]) -> None:
    """Mark a task's exception as retrieved: asyncio logs others; `_run_transfer` logged it."""
    if not task.cancelled():
        task.exception()
