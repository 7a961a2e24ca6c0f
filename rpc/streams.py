"""virStream packets: which bytes stand for data, a hole, the end or an abort. Sans I/O.

Owns: how the packets of one stream are encoded and read, for both sides of a connection.
May not touch: sockets, descriptors.
Source: protocol/features_9_0.md, "stream".

A stream belongs to the call that opened it: its packets carry the call's program, procedure and
serial. Data is status CONTINUE; the side that finishes sends an empty packet with status OK, which
the other side confirms with the same; status ERROR aborts, with an error as payload or without.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from rpc import framing
from rpc.framing import Frame, FrameError, Header, MessageType, Status

MAX_DATA: Final = 262120  # bytes of the largest data packet that libvirt sends

STREAM_TYPES: Final = (MessageType.STREAM, MessageType.STREAM_HOLE)


@dataclass(frozen=True, slots=True)
class Hole:
    """A run of zero bytes that is not sent; only sparse streams have holes."""

    length: int


class StreamEnd(Enum):
    """How a side ends a stream."""

    FINISH = auto()
    ABORT = auto()


class StreamId(NamedTuple):
    """What every packet of a stream has of the call that opened it."""

    program: int
    procedure: int
    serial: int

    @classmethod
    def from_header(cls, header: Header) -> StreamId:
        """Identify the stream that a call opens or that a packet belongs to."""
        return cls(header.program, header.procedure, header.serial)


class StreamPackets:
    """The packets of one stream, as bytes."""

    def __init__(self, call: Header) -> None:
        self._call = call

    def data(self, data: bytes) -> bytes:
        """Encode data; no bytes mean that no more will come."""
        return self._packet(Status.CONTINUE, data)

    def hole(self, length: int) -> bytes:
        """Encode a hole."""
        return self._packet(Status.CONTINUE, framing.encode_hole(length), MessageType.STREAM_HOLE)

    def finish(self) -> bytes:
        """Encode the end of the stream, or the confirmation of the peer's end."""
        return self._packet(Status.OK, b"")

    def abort(self, error: bytes) -> bytes:
        """Encode an abort with an error's payload."""
        return self._packet(Status.ERROR, error)

    def _packet(
        self, status: Status, payload: bytes, kind: MessageType = MessageType.STREAM
    ) -> bytes:
        call = self._call
        header = Header(call.program, call.version, call.procedure, kind, call.serial, status)
        return framing.encode(header, payload)


def read_packet(frame: Frame) -> bytes | Hole | StreamEnd:
    """Read a packet of the peer's; a hole that cannot be read aborts the stream."""
    header = frame.header
    if header.type == MessageType.STREAM_HOLE:
        try:
            return Hole(framing.decode_hole(frame.payload))
        except FrameError:
            return StreamEnd.ABORT
    if header.status == Status.CONTINUE:
        return bytes(frame.payload)
    return StreamEnd.FINISH if header.status == Status.OK else StreamEnd.ABORT
