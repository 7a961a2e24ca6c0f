"""The streams of one client: which packet belongs to which, and how each speaks to the client.

Owns: the pumps of one session and the gate on its socket.
May not touch: calls, other sessions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rpc import framing
from rpc.errors import VirError
from rpc.framing import Frame, FrameError, Header, MessageType, Status
from supervisor.messages.calls import Stream
from supervisor.rpcd.streams.descriptor_io import Hole, open_descriptor
from supervisor.rpcd.streams.pump import StreamPump
from supervisor.rpcd.transport.unix import UnixTransport

#: Ask a stream's owner how its side went: (owner, token, aborted).
EndStream = Callable[[str, str, bool], Awaitable[None]]


class ReadPause:
    """Reading from a client stops while anybody holds it."""

    def __init__(self, channel: UnixTransport) -> None:
        self._channel = channel
        self._holders: set[object] = set()

    def hold(self, holder: object, *, on: bool) -> None:
        """Hold or let go, on behalf of `holder`; either may be said twice."""
        if on:
            self._holders.add(holder)
            self._channel.pause_reading()
        elif self._holders:
            self._holders.discard(holder)
            if not self._holders:
                self._channel.resume_reading()


@dataclass(frozen=True, slots=True)
class StreamId:
    """What every packet of a stream carries from the call that opened it."""

    program: int
    procedure: int
    serial: int


class ClientStreams:
    """Every open stream of one client."""

    def __init__(self, channel: UnixTransport, conclude: EndStream) -> None:
        """Know no stream yet."""
        self.read_pause = ReadPause(channel)
        self._channel = channel
        self._end_stream = conclude
        self._pumps: dict[StreamId, StreamPump] = {}

    def open(self, call: Header, stream: Stream, owner: str) -> None:
        """Start to carry what a call's answer brought."""
        key = StreamId(call.program, call.procedure, call.serial)
        peer = ClientStream(self, self._channel, call)
        descriptor = open_descriptor(stream.descriptor.take(), sparse=stream.sparse)

        async def conclude(aborted: bool) -> None:  # noqa: FBT001  (the pump's callback)
            if stream.token:
                await self._end_stream(owner, stream.token, aborted)

        if (older := self._pumps.pop(key, None)) is not None:
            older.abort()  # the client has used its number again: nobody can reach that stream
        self._pumps[key] = StreamPump(peer, descriptor, conclude)

    def receive(self, frame: Frame) -> None:
        """Hand a packet to its stream; one for no open stream is dropped, as stock does."""
        header = frame.header
        pump = self._pumps.get(StreamId(header.program, header.procedure, header.serial))
        if pump is None:
            return
        if header.type == MessageType.STREAM_HOLE:
            try:
                pump.receive(Hole(framing.decode_hole(frame.payload)))
            except FrameError:
                pump.abort()
        elif header.status == Status.CONTINUE:
            pump.receive(bytes(frame.payload))
        elif header.status == Status.OK:
            pump.finish()
        else:
            pump.abort()

    def forget(self, call: Header) -> None:
        """A stream has ended."""
        key = StreamId(call.program, call.procedure, call.serial)
        if (pump := self._pumps.get(key)) is not None and pump.has_ended:
            del self._pumps[key]

    def close(self) -> None:
        """The client has gone: give every stream up."""
        for pump in list(self._pumps.values()):
            pump.abort()


class ClientStream:
    """One stream's way to its client (`supervisor.rpcd.streams.pump.StreamPeer`)."""

    def __init__(self, streams: ClientStreams, channel: UnixTransport, call: Header) -> None:
        self._streams = streams
        self._channel = channel
        self._call = call

    def data(self, data: bytes) -> None:
        """Send a packet; an empty one says that there will be no more."""
        self._send(Status.CONTINUE, data)

    def hole(self, length: int) -> None:
        """Send a hole."""
        self._send(Status.CONTINUE, framing.encode_hole(length), MessageType.STREAM_HOLE)

    def confirm(self) -> None:
        """Say that the stream has ended as the client asked."""
        self._send(Status.OK, b"")

    def fail(self, error: VirError) -> None:
        """Say that the stream is broken."""
        self._send(Status.ERROR, error.to_wire())

    async def drained(self) -> None:
        """Wait until the client has taken enough of what was sent."""
        await self._channel.drained()

    def hold(self, *, on: bool) -> None:
        """Stop reading from the client, or go on."""
        self._streams.read_pause.hold(self, on=on)

    def ended(self) -> None:
        """Forget the stream."""
        self._streams.forget(self._call)

    def _send(self, status: Status, payload: bytes, kind: MessageType = MessageType.STREAM) -> None:
        call = self._call
        header = Header(call.program, call.version, call.procedure, kind, call.serial, status)
        self._channel.send(framing.encode(header, payload))
