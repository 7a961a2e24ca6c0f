"""A client's stream: bytes between its connection and the descriptor that a service gave.

Owns: one descriptor and the two tasks that carry its bytes.
May not touch: sockets; what it has to say goes to its `StreamPeer`.
Source: protocol/features_9_0.md, "stream".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.rpcd.streams.descriptor_io import DescriptorIO, Hole

PACKET: Final = 262120  # data bytes of the largest packet that is sent
UNWRITTEN: Final = 1024 * 1024  # bytes from the client that may wait for the descriptor
UNWRITTEN_PACKET: Final = 256  # bytes that a waiting packet takes besides its data

log = logging.getLogger(__name__)


class StreamPeer(Protocol):
    """The client's side of one stream."""

    def data(self, data: bytes) -> None:
        """Send a packet; an empty one says that there will be no more."""

    def hole(self, length: int) -> None:
        """Send a hole."""

    def confirm(self) -> None:
        """Say that the stream has ended as the client asked."""

    def fail(self, error: VirError) -> None:
        """Say that the stream is broken."""

    async def drained(self) -> None:
        """Wait until the client has taken enough of what was sent."""

    def hold(self, *, on: bool) -> None:
        """Stop reading from the client, or go on."""

    def ended(self) -> None:
        """Forget the stream."""


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """The client has sent everything."""


class StreamPump:
    """Carries one stream until either side ends it."""

    def __init__(
        self,
        peer: StreamPeer,
        descriptor: DescriptorIO,
        end_stream: Callable[[bool], Awaitable[None]],
    ) -> None:
        """Start carrying. `conclude(aborted)` asks the owner how its side went; it may raise."""
        self._peer = peer
        self._descriptor = descriptor
        self._end_stream = end_stream
        self._waiting: asyncio.Queue[bytes | Hole | EndOfStream] = asyncio.Queue()
        self._unwritten = 0
        self._finished = False
        self.has_ended = False
        self._ending: asyncio.Task[None] | None = None
        self._carriers = [
            asyncio.create_task(self._carry(self._to_client())),
            asyncio.create_task(self._carry(self._from_client())),
        ]

    def receive(self, data: bytes | Hole) -> None:
        """Bytes or a hole came from the client."""
        if self._finished or self._ending is not None:
            return  # it said that there would be no more, or nobody takes it any more
        self._unwritten += weight(data)
        if self._unwritten > UNWRITTEN:
            self._peer.hold(on=True)
        self._waiting.put_nowait(data)

    def finish(self) -> None:
        """The client has sent everything and wants to hear that it arrived."""
        if not self._finished:
            self._finished = True
            self._waiting.put_nowait(EndOfStream())

    def abort(self) -> None:
        """The client gives the stream up, or has gone."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(aborted=True))

    async def _carry(self, work: Awaitable[None]) -> None:
        try:
            await work
        except OSError as failure:
            detail = f"stream: {failure.strerror}"
            error = VirError(
                ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STREAMS, int1=failure.errno or 0
            )
            self._break(error)

    async def _to_client(self) -> None:
        while data := await self._descriptor.read(PACKET):
            if isinstance(data, Hole):
                self._peer.hole(data.length)
            else:
                self._peer.data(data)
            await self._peer.drained()
        self._peer.data(b"")

    async def _from_client(self) -> None:
        while True:
            item = await self._waiting.get()
            if isinstance(item, EndOfStream):
                break
            if isinstance(item, Hole):
                await self._descriptor.skip(item.length)
            else:
                await self._descriptor.write(item)
            self._unwritten -= weight(item)
            if self._unwritten <= UNWRITTEN // 2:
                self._peer.hold(on=False)
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(aborted=False))

    def _break(self, error: VirError) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(aborted=True, error=error))

    async def _end(self, *, aborted: bool, error: VirError | None = None) -> None:
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.wait(self._carriers)
        self._descriptor.close()
        self._peer.hold(on=False)
        try:
            await self._end_stream(aborted)
        except VirError as refused:
            error = refused  # its owner knows more than that a descriptor broke
        if error is None:
            self._peer.confirm()
        else:
            log.info("a client's stream failed: %s", error)
            self._peer.fail(error)
        self.has_ended = True
        self._peer.ended()


def weight(item: bytes | Hole) -> int:
    """How much a packet that waits counts; an empty one counts too."""
    return UNWRITTEN_PACKET + (len(item) if isinstance(item, bytes) else 0)
