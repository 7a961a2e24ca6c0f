"""Messages of the protocol: a length, a header of six integers, a payload. Sans I/O.

Owns: the header and the limits of a message; where passed descriptors are among the bytes.
May not touch: sockets, payloads.
Source: protocol/net.json, protocol/features_9_0.md ("message", "descriptors").
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

MAX_MESSAGE: Final = 33554432 + 4  # bytes, the length included
MAX_PAYLOAD: Final = 33554408
MAX_DESCRIPTORS: Final = 32
MIN_MESSAGE: Final = 28
PIECE: Final = 16384  # bytes of a message under way that are kept together
_LENGTH: Final = struct.Struct(">I")
_MESSAGE: Final = struct.Struct(">IIIiIII")
_HOLE: Final = struct.Struct(">qI")


class MessageType(IntEnum):
    """virNetMessageType."""

    CALL = 0
    REPLY = 1
    MESSAGE = 2
    STREAM = 3
    CALL_WITH_FDS = 4
    REPLY_WITH_FDS = 5
    STREAM_HOLE = 6


#: Plain integers: every message is compared with them, and an enum is slower.
WITH_DESCRIPTORS: Final = (int(MessageType.CALL_WITH_FDS), int(MessageType.REPLY_WITH_FDS))
_REPLY: Final = int(MessageType.REPLY)
_REPLY_WITH_FDS: Final = int(MessageType.REPLY_WITH_FDS)


class Status(IntEnum):
    """virNetMessageStatus."""

    OK = 0
    ERROR = 1
    CONTINUE = 2


_OK: Final = int(Status.OK)


class FrameError(Exception):
    """The bytes are no message; the connection must be closed."""


class Header(NamedTuple):
    """A message's header. Type and status come from the client and may have any value."""

    program: int
    version: int
    procedure: int
    type: int
    serial: int
    status: int


class Frame(NamedTuple):
    """A message; `descriptors` is how many came with it."""

    header: Header
    payload: bytes
    descriptors: int = 0


def encode(header: tuple[int, int, int, int, int, int], payload: bytes) -> bytes:
    """Encode a message; its header is a `Header` or the same as a plain tuple.

    Raises:
        FrameError: the payload is larger than a message may be.
    """
    if len(payload) > MAX_PAYLOAD:
        raise FrameError(f"a payload of {len(payload)} bytes; the protocol takes {MAX_PAYLOAD}")
    return _MESSAGE.pack(MIN_MESSAGE + len(payload), *header) + payload


def encode_reply(call: Header, payload: bytes, descriptors: int = 0) -> bytes:
    """Encode the reply to a call, after which `descriptors` descriptors are sent.

    Raises:
        FrameError: the payload is larger than a message may be.
    """
    kind = _REPLY
    if descriptors:
        kind = _REPLY_WITH_FDS
        payload = _LENGTH.pack(descriptors) + payload
    program, version, procedure, _, serial, _ = call
    return encode((program, version, procedure, kind, serial, _OK), payload)


def encode_error_reply(call: Header, error: bytes) -> bytes:
    """Encode the error reply to a call; the payload is a virNetMessageError."""
    header = Header(
        call.program, call.version, call.procedure, MessageType.REPLY, call.serial, Status.ERROR
    )
    return encode(header, error)


def encode_hole(length: int) -> bytes:
    """Encode the payload of a stream hole."""
    return _HOLE.pack(length, 0)


def decode_hole(payload: bytes) -> int:
    """Decode the length of a stream hole.

    Raises:
        FrameError: the payload is no hole.
    """
    try:
        length, flags = _HOLE.unpack_from(payload)
    except struct.error:
        raise FrameError("a truncated stream hole") from None
    if length < 0 or flags:
        raise FrameError(f"a stream hole of {length} bytes, flags {flags:#x}")
    return int(length)


class FrameDecoder:
    """Splits a stream of bytes into messages.

    A message with descriptors is followed by a byte for each of them, which is no part of the next
    message; it is returned once these bytes, and so its descriptors, were received.
    """

    def __init__(self) -> None:
        # Pieces of one size: a buffer that grows with a message leaves holes in the heap, and with
        # many clients these were as large as what the buffers held.
        self._pieces: list[bytearray] = []
        self._received = 0  # bytes of a message that is not complete
        self._needed = 0  # bytes without which no message is complete

    @property
    def buffered(self) -> int:
        """The bytes that a message takes that is not complete."""
        return len(self._pieces) * PIECE

    @property
    def expected(self) -> int:
        """The bytes that are to come before a message can be complete."""
        return self._needed - self._received if self._received else 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; return the messages that are complete.

        Raises:
            FrameError: the bytes cannot be messages.
        """
        left = len(data)
        whole: bytes | memoryview = data
        if self._received:
            self._keep(memoryview(data))
            left = self._received
            if left < self._needed:
                return []
            whole = memoryview(self._take())  # no copy of 32 MiB but the payload
        frames: list[Frame] = []
        start = 0
        while left >= MIN_MESSAGE:
            size, *fields = _MESSAGE.unpack_from(whole, start)
            header = Header._make(fields)
            if not MIN_MESSAGE <= size <= MAX_MESSAGE:
                raise bad_size(size)
            skip, count = MIN_MESSAGE, 0
            if header.type in WITH_DESCRIPTORS:
                skip, count = MIN_MESSAGE + 4, descriptors(whole, start, size, left)
            if left < size + count:
                self._needed = size + count
                break
            frames.append(Frame(header, bytes(whole[start + skip : start + size]), count))
            start += size + count
            left -= size + count
        else:
            self._needed = MIN_MESSAGE if left >= _LENGTH.size else _LENGTH.size
            if left >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(whole, start)
                if not MIN_MESSAGE <= size <= MAX_MESSAGE:
                    raise bad_size(size)
        if left:
            self._keep(memoryview(whole)[start : start + left])
        return frames

    def _take(self) -> bytearray:
        """Join the pieces; each is freed when it is copied: a message can have 32 MiB."""
        whole = bytearray(len(self._pieces) * PIECE)
        for place in range(len(self._pieces)):
            piece, self._pieces[place] = self._pieces[place], bytearray()
            whole[place * PIECE : place * PIECE + len(piece)] = piece
        self._pieces.clear()
        self._received = 0
        return whole

    def _keep(self, data: memoryview) -> None:
        while data:
            start = self._received % PIECE
            if start == 0:
                self._pieces.append(bytearray(PIECE))
            part = data[: PIECE - start]
            self._pieces[-1][start : start + len(part)] = part
            self._received += len(part)
            data = data[len(part) :]


def bad_size(size: int) -> FrameError:
    """Make the error for a length too short for a header, or longer than the protocol allows."""
    return FrameError(f"a message of {size} bytes")


def descriptors(data: bytes | memoryview, start: int, size: int, left: int) -> int:
    """Return how many descriptors follow a message of a type that has some.

    `left` bytes from its start are received. It is 0 while the count is not: the message is not
    complete either.

    Raises:
        FrameError: there is no count, or it is too large.
    """
    if size < MIN_MESSAGE + 4:
        raise FrameError("a message with descriptors without their count")
    if left < MIN_MESSAGE + 4:
        return 0
    (count,) = _LENGTH.unpack_from(data, start + MIN_MESSAGE)
    if count > MAX_DESCRIPTORS:
        raise FrameError(f"{count} descriptors; a message may have {MAX_DESCRIPTORS}")
    return int(count)
