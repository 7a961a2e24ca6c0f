"""Messages on the wire: a length, a header of six words, a payload. Sans I/O.

Owns: the header and the limits of a message; where passed descriptors stand among the bytes.
May not touch: sockets, payloads.
Source: protocol/net.json, protocol/features_9_0.md ("message", "descriptors").
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

MAX_MESSAGE: Final = 33554432 + 4  # bytes, the length word included
MAX_PAYLOAD: Final = 33554408
MAX_DESCRIPTORS: Final = 32
MIN_MESSAGE: Final = 28
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


#: Plain numbers: comparing with them is what every message pays for.
WITH_DESCRIPTORS: Final = (int(MessageType.CALL_WITH_FDS), int(MessageType.REPLY_WITH_FDS))


class Status(IntEnum):
    """virNetMessageStatus."""

    OK = 0
    ERROR = 1
    CONTINUE = 2


class FrameError(Exception):
    """Bytes that are no message; the connection they came by is of no more use."""


class Header(NamedTuple):
    """A message's six words. Type and status are numbers a client chose: they may be any."""

    program: int
    version: int
    procedure: int
    type: int
    serial: int
    status: int


class Frame(NamedTuple):
    """One whole message; `descriptors` of them have come with it."""

    header: Header
    payload: bytes
    descriptors: int = 0


def encode(header: Header, payload: bytes) -> bytes:
    """Make a message.

    Raises:
        FrameError: the payload is larger than a message may be.
    """
    if len(payload) > MAX_PAYLOAD:
        raise FrameError(f"a payload of {len(payload)} bytes; the protocol takes {MAX_PAYLOAD}")
    return _MESSAGE.pack(MIN_MESSAGE + len(payload), *header) + payload


def encode_reply(call: Header, payload: bytes, descriptors: int = 0) -> bytes:
    """Make the reply to a call; `descriptors` of them are sent after it.

    Raises:
        FrameError: the payload is larger than a message may be.
    """
    kind = MessageType.REPLY
    if descriptors:
        kind = MessageType.REPLY_WITH_FDS
        payload = _LENGTH.pack(descriptors) + payload
    header = Header(call.program, call.version, call.procedure, kind, call.serial, Status.OK)
    return encode(header, payload)


def encode_error_reply(call: Header, error: bytes) -> bytes:
    """Make the refusal of a call, whose payload is an encoded remote_error."""
    header = Header(
        call.program, call.version, call.procedure, MessageType.REPLY, call.serial, Status.ERROR
    )
    return encode(header, error)


def encode_hole(length: int) -> bytes:
    """The payload of a stream hole of so many bytes."""
    return _HOLE.pack(length, 0)


def decode_hole(payload: bytes) -> int:
    """The length of a stream's hole.

    Raises:
        FrameError: it is no hole.
    """
    try:
        length, flags = _HOLE.unpack_from(payload)
    except struct.error:
        raise FrameError("a stream hole that is cut short") from None
    if length < 0 or flags:
        raise FrameError(f"a stream hole of {length} bytes, flags {flags:#x}")
    return int(length)


class FrameDecoder:
    """Bytes in any pieces become messages.

    A message with descriptors is followed by a byte for each of them, which is no part of the next
    message; it is given once these bytes, and so its descriptors, have come.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = 0  # bytes until there may be another message

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; give the messages that are whole.

        Raises:
            FrameError: the bytes cannot be messages.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        frames: list[Frame] = []
        start, left = 0, len(data)
        while left >= MIN_MESSAGE:
            size, *words = _MESSAGE.unpack_from(data, start)
            header = Header._make(words)
            check_size(size)
            skip, count = MIN_MESSAGE, 0
            if header.type in WITH_DESCRIPTORS:
                skip, count = MIN_MESSAGE + 4, descriptors(data, start, size)
            whole = size + count
            if left < whole:
                self._wanted = whole
                break
            frames.append(Frame(header, data[start + skip : start + size], count))
            start += whole
            left -= whole
        else:
            self._wanted = MIN_MESSAGE if left >= _LENGTH.size else _LENGTH.size
            if left >= _LENGTH.size:
                check_size(_LENGTH.unpack_from(data, start)[0])
        if left:
            self._buffer += memoryview(data)[start:]
        return frames


def check_size(size: int) -> None:
    """Refuse a length that no message has.

    Raises:
        FrameError: too short for a header, or longer than the protocol allows.
    """
    if not MIN_MESSAGE <= size <= MAX_MESSAGE:
        raise FrameError(f"a message of {size} bytes")


def descriptors(data: bytes, start: int, size: int) -> int:
    """How many descriptors follow a message of a type that has some.

    While the word that counts them has not come, it is none: the message is not whole either.

    Raises:
        FrameError: they are not counted, or too many.
    """
    if size < MIN_MESSAGE + 4:
        raise FrameError("a message with descriptors that does not count them")
    if len(data) - start < MIN_MESSAGE + 4:
        return 0
    (count,) = _LENGTH.unpack_from(data, start + MIN_MESSAGE)
    if count > MAX_DESCRIPTORS:
        raise FrameError(f"{count} descriptors; {MAX_DESCRIPTORS} may come with a message")
    return int(count)
