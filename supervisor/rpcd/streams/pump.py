"""A client's stream: copies bytes between the client and the descriptor that a service gave.

Owns: one descriptor and the two tasks that copy.
May not touch: sockets; packets for the client go to its `StreamPeer`.
Source: protocol/features_9_0.md, "stream".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.streams import MAX_DATA, Hole, StreamEnd
from supervisor.rpcd.streams.descriptor_io import DescriptorIO

MAX_UNWRITTEN: Final = 1024 * 1024  # bytes from the client that may wait for the descriptor
QUEUED_PACKET: Final = 256  # bytes that a queued packet counts besides its data

log = logging.getLogger(__name__)


class StreamPeer(Protocol):
    """The client's side of one stream."""

    def data(self, data: bytes) -> None:
        """Send data; no bytes mean that no more will come."""

    def hole(self, length: int) -> None:
        """Send a hole."""

    def finish(self) -> None:
        """Confirm the end that the client asked for."""

    def fail(self, error: VirError) -> None:
        """Report that the stream failed."""

    async def drained(self) -> None:
        """Wait until the client has read enough of what was sent."""

    def hold(self, *, on: bool) -> None:
        """Stop reading from the client, or go on."""

    def ended(self) -> None:
        """Forget the stream."""


class StreamPump:
    """Copies until either side ends the stream."""

    def __init__(
        self,
        peer: StreamPeer,
        descriptor: DescriptorIO,
        end_stream: Callable[[bool], Awaitable[None]],
    ) -> None:
        """Take the descriptor over and start to copy.

        Args:
            peer: the client's side.
            descriptor: the service's side.
            end_stream: called with `aborted`; it has the owner end its side, and may raise.
        """
        self._peer = peer
        self._descriptor = descriptor
        self._end_stream = end_stream
        self._unwritten: asyncio.Queue[bytes | Hole | StreamEnd] = asyncio.Queue()
        self._unwritten_size = 0
        self._finished = False
        self.has_ended = False
        self._ending: asyncio.Task[None] | None = None
        self._copiers = [
            asyncio.create_task(self._copy(self._to_client())),
            asyncio.create_task(self._copy(self._from_client())),
        ]

    def receive(self, packet: bytes | Hole | StreamEnd) -> None:
        """Take a packet of the client's."""
        if packet is StreamEnd.ABORT:
            self.abort()
        elif self._finished:
            return  # nothing may follow a finish
        elif packet is StreamEnd.FINISH:
            self._finished = True
            self._unwritten.put_nowait(packet)
        elif self._ending is None:
            self._unwritten_size += weight(packet)
            if self._unwritten_size > MAX_UNWRITTEN:
                self._peer.hold(on=True)
            self._unwritten.put_nowait(packet)

    def abort(self) -> None:
        """End the stream without its confirmation: the client aborts it, or is closed."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(aborted=True))

    async def _copy(self, work: Awaitable[None]) -> None:
        try:
            await work
        except OSError as error:
            detail = f"stream: {error.strerror}"
            self._fail(
                VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STREAMS, int1=error.errno or 0)
            )

    async def _to_client(self) -> None:
        while data := await self._descriptor.read(MAX_DATA):
            if isinstance(data, Hole):
                self._peer.hole(data.length)
            else:
                self._peer.data(data)
            await self._peer.drained()
        self._peer.data(b"")

    async def _from_client(self) -> None:
        while True:
            packet = await self._unwritten.get()
            if isinstance(packet, StreamEnd):
                break
            if isinstance(packet, Hole):
                await self._descriptor.skip(packet.length)
            else:
                await self._descriptor.write(packet)
            self._unwritten_size -= weight(packet)
            if self._unwritten_size <= MAX_UNWRITTEN // 2:
                self._peer.hold(on=False)
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(aborted=False))

    def _fail(self, error: VirError) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(aborted=True, error=error))

    async def _end(self, *, aborted: bool, error: VirError | None = None) -> None:
        for copier in self._copiers:
            copier.cancel()
        await asyncio.wait(self._copiers)
        self._descriptor.close()
        self._peer.hold(on=False)
        try:
            await self._end_stream(aborted)
        except VirError as owner_error:
            error = owner_error  # it says more than that a descriptor broke
        if error is None:
            self._peer.finish()
        else:
            log.info("a client's stream failed: %s", error)
            self._peer.fail(error)
        self.has_ended = True
        self._peer.ended()


def weight(packet: bytes | Hole | StreamEnd) -> int:
    """Count a queued packet's bytes; an empty one counts too."""
    return QUEUED_PACKET + (len(packet) if isinstance(packet, bytes) else 0)
