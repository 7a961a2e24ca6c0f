"""stord's calls that upload and download volumes.

Owns: the transfers under way: each has a process of its own between the volume and the socket that
rpcd carries. May touch: volumes, by these processes.
"""

from __future__ import annotations

import asyncio
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

ABORT_S: Final = 2.0  # for our side to notice that the client's has gone
END_S: Final = 25.0  # for the last bytes to be written, once the client has sent them all
BUFFER: Final = 1024 * 1024  # bytes that a socket is asked to hold

log = logging.getLogger(__name__)

#: Makes the order for a transfer's process, of its end of the socket.
MakeRequest = Callable[[Descriptor], Request[Ack]]


@dataclass(slots=True, eq=False)
class Transfer:
    """A transfer under way."""

    task: asyncio.Task[None]
    volume: str  # for the log


class TransferCalls:
    """What clients may do with volumes' contents."""

    def __init__(self, registry: PoolRegistry, pools: Pools, keep_running: KeepRunningVote) -> None:
        """Carry none yet."""
        self._keep_running = keep_running
        self._registry = registry
        self._pools = pools
        self._tokens = itertools.count(1)
        self._transfers: dict[str, Transfer] = {}

    async def storage_vol_upload(
        self, call: ClientCall, vol: VolumeId, offset: int, length: int, flags: int
    ) -> None:
        """Write what the client sends into a volume.

        Raises:
            VirError: INVALID_ARG for an offset beyond its end; OPERATION_INVALID while it is used.
        """
        sparse = bool(flags & StorageVolUploadFlags.STREAM)
        STORAGE_ERRORS.check_flags("storageVolUpload", flags, StorageVolUploadFlags.STREAM)
        active, volume = await self._transferable(vol, offset, length)
        if active.holds[volume.name]:
            raise STORAGE_ERRORS.operation_invalid(f"volume '{volume.name}' is still in use.")

        def order(end: Descriptor) -> Receive:
            return Receive(
                path=volume.path, descriptor=end, offset=offset, length=length, sparse=sparse
            )

        self._start_transfer(call, active, volume, order, sparse=sparse)

    async def storage_vol_download(
        self, call: ClientCall, vol: VolumeId, offset: int, length: int, flags: int
    ) -> None:
        """Send a volume's bytes to the client.

        Raises:
            VirError: INVALID_ARG for an offset beyond its end.
        """
        sparse = bool(flags & StorageVolDownloadFlags.STREAM)
        STORAGE_ERRORS.check_flags("storageVolDownload", flags, StorageVolDownloadFlags.STREAM)
        active, volume = await self._transferable(vol, offset, length)

        def order(end: Descriptor) -> Send:
            return Send(
                path=volume.path, descriptor=end, offset=offset, length=length, sparse=sparse
            )

        self._start_transfer(call, active, volume, order, sparse=sparse)

    @handles(StreamEnd)
    async def stream_end(self, request: StreamEnd) -> Ack:
        """The client's side of a transfer is over: say how ours went.

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
        detail = f"the last bytes of volume '{transfer.volume}' were not written in {END_S:g} s"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE)

    def on_peer_lost(self, peer: str) -> None:
        """Rpcd has gone: nobody will ask for its transfers; their sockets are closed already."""
        if peer == "rpcd":
            self._transfers.clear()

    async def close(self) -> None:
        """Give every transfer up."""
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
                f"volume '{volume.name}' is a folder: it has no bytes of its own"
            )
        volume = await self._pools.refresh_volume(active, volume)
        size = volume.physical or volume.capacity
        if offset > size:
            detail = f"the offset {offset} lies beyond the end of volume '{volume.name}', {size}"
            raise STORAGE_ERRORS.invalid_arg(detail)
        if offset + length > MAX_BYTES:
            raise STORAGE_ERRORS.invalid_arg(f"the length {length} is more than a volume can have")
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
        task = asyncio.create_task(self._run_transfer(active, volume, request))
        task.add_done_callback(_retrieve_exception)
        self._transfers[token] = Transfer(task, volume.name)
        call.set_stream(client_end.detach(), token, sparse=sparse)

    async def _run_transfer(
        self, active: ActivePool, volume: VolumeInfo, request: Request[Ack]
    ) -> None:
        with active.hold_volume(volume.name), self._keep_running.hold():
            direction = "written" if isinstance(request, Receive) else "read"
            try:
                with operation(
                    f"volume '{volume.name}' of pool '{active.pool.name}' is being {direction}"
                ):
                    await active.process.call_dedicated(request)
            except VirError as error:
                log.error("the transfer of volume '%s' failed: %s", volume.name, error)
                raise
            if isinstance(request, Receive) and volume.name in active.volumes:
                await self._pools.refresh_volume(active, active.volumes[volume.name])
        await self._pools.update_space(active)


def _retrieve_exception(task: asyncio.Task[None]) -> None:
    """Its failure was logged; when nobody asks for it, that was all."""
    if not task.cancelled():
        task.exception()
