"""Frames: the encoding of calls, replies and events between two processes. Sans I/O.

Owns: the layout (length, number of descriptors, msgpack array) and its limits.
May not touch: sockets.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

import msgspec

from ipc.descriptor import Descriptor
from ipc.errors import ProtocolError

MAX_FRAME: Final = 64 * 1024 * 1024  # bytes
MAX_DESCRIPTORS: Final = 64  # of one frame
PREFIX: Final = struct.Struct("<II")


class Call(msgspec.Struct, array_like=True, tag=0):
    """A request."""

    number: int
    left_s: float  # what is left of its deadline
    trace: str
    tag: str
    body: msgspec.Raw


class Reply(msgspec.Struct, array_like=True, tag=1):
    """The reply to a call."""

    number: int
    body: msgspec.Raw


class ErrorReply(msgspec.Struct, array_like=True, tag=2):
    """The error reply to a call: an error of the bus by name, or one of a service (no name)."""

    number: int
    name: str
    text: str
    data: bytes


class EventFrame(msgspec.Struct, array_like=True, tag=3):
    """An event."""

    trace: str
    tag: str
    body: msgspec.Raw


class Cancel(msgspec.Struct, array_like=True, tag=4):
    """The caller no longer waits for a reply."""

    number: int


Frame = Call | Reply | ErrorReply | EventFrame | Cancel
_FRAMES: Final = msgspec.msgpack.Decoder(Frame)


class Encoder:
    """Makes frames; a descriptor in a message becomes its index among the frame's SCM_RIGHTS."""

    def __init__(self) -> None:
        self._descriptors: list[Descriptor] = []
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._hook)

    def encode(self, *fields: object) -> tuple[bytes, list[Descriptor]]:
        """Encode a frame's fields, its tag first, into bytes and descriptors.

        Raises:
            ProtocolError: the frame would be beyond the limits.
        """
        self._descriptors = []
        try:
            data = self._encoder.encode(fields)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
            raise ProtocolError(f"a message cannot be sent: {error}") from error
        descriptors = self._descriptors
        if len(data) > MAX_FRAME or len(descriptors) > MAX_DESCRIPTORS:
            raise ProtocolError(f"a message of {len(data)} bytes is too large for the bus")
        return PREFIX.pack(len(data), len(descriptors)) + data, descriptors

    def _hook(self, value: object) -> object:
        if isinstance(value, Descriptor):
            value.fileno()  # raises ValueError for one that was taken already
            self._descriptors.append(value)
            return len(self._descriptors) - 1
        raise TypeError(f"{type(value).__name__} is not a type of the bus")


class Received:
    """A frame with the descriptors that came with it; those not taken are closed with it."""

    __slots__ = ("_descriptors", "frame")

    def __init__(self, frame: Frame, descriptors: list[int]) -> None:
        self.frame = frame
        self._descriptors: list[Descriptor | None] = [Descriptor(fd) for fd in descriptors]

    def body(self, decoder: BodyDecoder) -> object:
        """Decode the message inside.

        Raises:
            ProtocolError: it is not of the expected type.
        """
        raw = getattr(self.frame, "body", b"")
        return decoder.decode(raw, self._descriptors)


class BodyDecoder:
    """Decodes messages of one type."""

    def __init__(self, kind: object) -> None:
        self._descriptors: list[Descriptor | None] = []
        self._decoder = msgspec.msgpack.Decoder(kind, dec_hook=self._hook)

    def decode(self, raw: bytes | msgspec.Raw, descriptors: list[Descriptor | None]) -> object:
        """Decode a message, with the descriptors that its frame brought.

        Raises:
            ProtocolError: the bytes are not such a message.
        """
        self._descriptors = descriptors
        try:
            return self._decoder.decode(raw)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ProtocolError(f"a message cannot be read: {error}") from error
        finally:
            self._descriptors = []

    def _hook(self, kind: type, value: object) -> object:
        if kind is Descriptor and isinstance(value, int) and 0 <= value < len(self._descriptors):
            descriptor = self._descriptors[value]
            self._descriptors[value] = None
            if descriptor is not None:
                return descriptor
        raise msgspec.ValidationError(f"no {kind.__name__} at {value!r}")


class FrameDecoder:
    """Splits a stream of bytes into frames."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._needed = PREFIX.size  # bytes until there may be another frame
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: list[int] | tuple[int, ...] = ()) -> list[Received]:
        """Take bytes and the descriptors that came with them; return the frames that are whole.

        Raises:
            ProtocolError: the bytes are no frames; the link must be closed.
        """
        self._descriptors.extend(descriptors)
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
        frames: list[Received] = []
        start = 0
        end = len(data)
        while end - start >= PREFIX.size:
            size, count = PREFIX.unpack_from(data, start)
            if size > self._max_frame or count > MAX_DESCRIPTORS:
                raise ProtocolError(f"a frame of {size} bytes and {count} descriptors")
            stop = start + PREFIX.size + size
            if stop > end:
                self._needed = stop - start
                break
            frames.append(self._frame(data[start + PREFIX.size : stop], count))
            start = stop
        else:
            self._needed = PREFIX.size
        self._buffer = bytearray(data[start:]) if start < end else bytearray()
        if len(self._descriptors) > MAX_DESCRIPTORS:
            raise ProtocolError(f"{len(self._descriptors)} descriptors without their frames")
        return frames

    def close(self) -> list[int]:
        """Return the descriptors of frames that did not come; the caller closes them."""
        left = list(self._descriptors)
        self._descriptors.clear()
        return left

    def _frame(self, data: bytes, count: int) -> Received:
        if count > len(self._descriptors):
            raise ProtocolError(
                f"a frame announces {count} descriptors, {len(self._descriptors)} came"
            )
        try:
            frame = _FRAMES.decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ProtocolError(f"not a frame: {error}") from error
        return Received(frame, [self._descriptors.popleft() for _ in range(count)])
