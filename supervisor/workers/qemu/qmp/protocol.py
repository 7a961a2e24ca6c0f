"""The QMP protocol without a socket: bytes to messages, commands to bytes.

Owns: the limits on what QEMU may send: a guest that has broken out of its QEMU sends anything.
May touch: values only.
Source: QEMU 7.2, "QEMU Machine Protocol Specification".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

MAX_LINE: Final = (
    8 << 20
)  # bytes; the largest reply of a real QEMU, query-qmp-schema's, has 0.3 MiB
MAX_ARGUMENTS: Final = 1 << 20  # bytes of one command

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
Arguments = Mapping[str, object]


class QmpFormatError(Exception):
    """What QEMU sent is not QMP; the connection must be closed."""


class ErrorObject(msgspec.Struct, frozen=True):
    """The "error" of a reply."""

    error_class: str = msgspec.field(default="GenericError", name="class")
    desc: str = ""


class Timestamp(msgspec.Struct, frozen=True):
    """Time of an event, by the host's clock."""

    seconds: int = 0
    microseconds: int = 0


class Message(msgspec.Struct, frozen=True):
    """A message of QEMU: greeting, reply, error reply or event."""

    greeting: msgspec.Raw | None = None
    id: int | str | None = None
    return_value: msgspec.Raw | None = None
    error: ErrorObject | None = None
    event: str | None = None
    data: msgspec.Raw | None = None
    timestamp: Timestamp = Timestamp()


class _Line(msgspec.Struct, frozen=True):
    """A message as msgspec decodes it, which takes no `Raw | None`: empty is absent."""

    greeting: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="QMP")
    id: int | str | None = None
    return_value: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="return")
    error: ErrorObject | None = None
    event: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    timestamp: Timestamp = Timestamp()


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command."""

    execute: str
    arguments: Arguments | None = None
    id: int | None = None


_LINES: Final = msgspec.json.Decoder(_Line)
_ENCODER: Final = msgspec.json.Encoder()


class Decoder:
    """Splits QEMU's bytes into messages."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._buffer = bytearray()
        self._max_line = max_line
        self._searched = 0

    @property
    def rest(self) -> bytes:
        """The bytes of a message that is not complete."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """Add bytes and return the messages that are complete.

        Raises:
            QmpFormatError: the bytes are not QMP, or a line is longer than `max_line`.
        """
        self._buffer += data
        messages = []
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[:end]).strip()
            del self._buffer[: end + 1]
            self._searched = 0
            if line:
                messages.append(decode_message(line))
        self._searched = len(self._buffer)
        if len(self._buffer) > self._max_line:
            raise QmpFormatError(f"a message of QEMU has over {self._max_line} bytes")
        return messages


def decode_message(line: bytes) -> Message:
    """Decode one line.

    Raises:
        QmpFormatError: it is not a QMP message.
    """
    try:
        decoded = _LINES.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise QmpFormatError(f"QEMU sent what is not QMP: {error}") from error
    return Message(
        greeting=decoded.greeting or None,
        id=decoded.id,
        return_value=decoded.return_value or None,
        error=decoded.error,
        event=decoded.event,
        data=decoded.data or None,
        timestamp=decoded.timestamp,
    )


def encode_command(command: str, arguments: Arguments | None, number: int) -> bytes:
    """Encode a command.

    Raises:
        ValueError: its arguments are too large.
    """
    data = _ENCODER.encode(Command(command, arguments, number)) + b"\n"
    if len(data) > MAX_ARGUMENTS:
        raise ValueError(f"the arguments of {command} have over {MAX_ARGUMENTS} bytes")
    return data


def encode_raw_command(command: msgspec.Raw, number: int) -> bytes:
    """Encode a client's own command, with our id in place of the client's.

    Raises:
        ValueError: it is not a JSON object with an "execute", or too large.
    """
    try:
        members = msgspec.json.decode(bytes(command), type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"a QMP command is a JSON object: {error}") from error
    if "execute" not in members:
        raise ValueError('a QMP command is a JSON object with a member "execute"')
    members["id"] = msgspec.Raw(str(number).encode())
    data = _ENCODER.encode(members) + b"\n"
    if len(data) > MAX_ARGUMENTS:
        raise ValueError(f"the command has over {MAX_ARGUMENTS} bytes")
    return data
