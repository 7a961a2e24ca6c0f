"""QMP without a socket: bytes to messages, commands to bytes.

Owns: the limits on what an emulator may say; a guest that has broken out of its emulator says
anything. May touch: nothing.
Source: QEMU's QMP specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

MAX_LINE: Final = 8 << 20  # bytes; the largest honest answer, a schema, has 0.3 MiB
MAX_ARGUMENTS: Final = 1 << 20  # bytes of one command

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
Arguments = Mapping[str, object]


class QmpFormatError(Exception):
    """The emulator does not speak QMP; the link to it is of no use any more."""


class ErrorObject(msgspec.Struct, frozen=True):
    """Why a command was refused."""

    error_class: str = msgspec.field(default="GenericError", name="class")
    desc: str = ""


class Timestamp(msgspec.Struct, frozen=True):
    """When an event happened, by the host's clock."""

    seconds: int = 0
    microseconds: int = 0


class Message(msgspec.Struct, frozen=True):
    """Anything an emulator says: a greeting, an answer, a refusal or an event."""

    greeting: msgspec.Raw | None = None
    id: int | str | None = None
    return_value: msgspec.Raw | None = None
    error: ErrorObject | None = None
    event: str | None = None
    data: msgspec.Raw | None = None
    timestamp: Timestamp = Timestamp()


class _Line(msgspec.Struct, frozen=True):
    """A line as it is decoded: msgspec takes `Raw` alone, not `Raw | None`; empty is absent."""

    greeting: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="QMP")
    id: int | str | None = None
    return_value: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="return")
    error: ErrorObject | None = None
    event: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    timestamp: Timestamp = Timestamp()


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked of the emulator."""

    execute: str
    arguments: Arguments | None = None
    id: int | None = None


_LINES: Final = msgspec.json.Decoder(_Line)
_ENCODER: Final = msgspec.json.Encoder()


class Decoder:
    """Cuts the emulator's bytes into messages."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        """Refuse lines of more than `max_line` bytes."""
        self._buffer = bytearray()
        self._max_line = max_line
        self._searched = 0

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes; the messages that they complete come out.

        Raises:
            QmpFormatError: what came is no QMP.
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
            raise QmpFormatError(f"a message of the emulator's has over {self._max_line} bytes")
        return messages


def decode_message(line: bytes) -> Message:
    """Read one line.

    Raises:
        QmpFormatError: it is none.
    """
    try:
        decoded = _LINES.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise QmpFormatError(f"the emulator said what is no QMP: {error}") from error
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
    """Write a command.

    Raises:
        ValueError: its arguments are too large.
    """
    data = _ENCODER.encode(Command(command, arguments, number)) + b"\n"
    if len(data) > MAX_ARGUMENTS:
        raise ValueError(f"the arguments of {command} have over {MAX_ARGUMENTS} bytes")
    return data


def encode_raw_command(command: msgspec.Raw, number: int) -> bytes:
    """Write a command that a client made, with our number in the place of its own.

    Raises:
        ValueError: it is no JSON object with an "execute" or "exec-oob".
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
