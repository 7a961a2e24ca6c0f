"""The open streams of one client: which packet belongs to which, and flow control.

Owns: the pumps of one client, and whether its transport is read.
May not touch: calls, other clients.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rpc.errors import VirError
from rpc.framing import Frame, Header
from rpc.streams import StreamId, StreamPackets, read_packet
from supervisor.messages.calls import Stream
from supervisor.rpcd.connection import Connection
from supervisor.rpcd.streams.descriptor_io import open_descriptor
from supervisor.rpcd.streams.pump import StreamPump
from supervisor.rpcd.transport.transport import Transport

#: Has a stream's owner end its side: (owner, token, aborted).
EndStream = Callable[[str, str, bool], Awaitable[None]]


class ReadPause:
    """Stops reading from a client while there is a reason to."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._holders: set[object] = set()

    def hold(self, holder: object, *, on: bool) -> None:
        """Add or remove a reason; either may be repeated."""
        if on:
            self._holders.add(holder)
            self._transport.pause_reading()
        elif self._holders:
            self._holders.discard(holder)
            if not self._holders:
                self._transport.resume_reading()


class ClientStreams:
    """Every open stream of one client."""

    def __init__(self, connection: Connection, end_stream: EndStream) -> None:
        self.read_pause = ReadPause(connection.transport)
        self._connection = connection
        self._end_stream = end_stream
        self._pumps: dict[StreamId, StreamPump] = {}

    def open(self, call: Header, stream: Stream, owner: str) -> None:
        """Start to pump the stream that a call's reply brought."""
        stream_id = StreamId.from_header(call)
        peer = ClientStream(self, self._connection, call)
        descriptor = open_descriptor(stream.descriptor.take(), sparse=stream.sparse)

        async def end_stream(aborted: bool) -> None:  # noqa: FBT001  (the pump's callback)
            if stream.token:
                await self._end_stream(owner, stream.token, aborted)

        if (older := self._pumps.pop(stream_id, None)) is not None:
            older.abort()  # the client has used its serial again: it cannot reach that stream
        self._pumps[stream_id] = StreamPump(peer, descriptor, end_stream)

    def receive(self, frame: Frame) -> None:
        """Give a packet to its stream; one of no open stream is dropped, as libvirt does."""
        pump = self._pumps.get(StreamId.from_header(frame.header))
        if pump is not None:
            pump.receive(read_packet(frame))

    def forget(self, stream_id: StreamId) -> None:
        """Remove a stream that has ended, unless another has taken its id."""
        if (pump := self._pumps.get(stream_id)) is not None and pump.has_ended:
            del self._pumps[stream_id]

    def close(self) -> None:
        """Abort every stream: the client's connection is closed."""
        for pump in list(self._pumps.values()):
            pump.abort()


class ClientStream:
    """The client's side of one stream (`StreamPeer`)."""

    def __init__(self, streams: ClientStreams, connection: Connection, call: Header) -> None:
        self._streams = streams
        self._connection = connection
        self._id = StreamId.from_header(call)
        self._packets = StreamPackets(call)

    def data(self, data: bytes) -> None:
        """Send data; no bytes mean that no more will come."""
        self._connection.send(self._packets.data(data))

    def hole(self, length: int) -> None:
        """Send a hole."""
        self._connection.send(self._packets.hole(length))

    def finish(self) -> None:
        """Confirm the end that the client asked for."""
        self._connection.send(self._packets.finish())

    def fail(self, error: VirError) -> None:
        """Report that the stream failed."""
        self._connection.send(self._packets.abort(error.to_wire()))

    async def drained(self) -> None:
        """Wait until the client has read enough of what was sent."""
        await self._connection.transport.drained()

    def hold(self, *, on: bool) -> None:
        """Stop reading from the client, or go on."""
        self._streams.read_pause.hold(self, on=on)

    def ended(self) -> None:
        """Forget the stream."""
        self._streams.forget(self._id)
