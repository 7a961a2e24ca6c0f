"""What is done with bytes of a client, a QEMU, or a guest's agent.

Owns: the order in which each protocol's functions are called. No socket, no process.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ipc.errors import ProtocolError
from ipc.frames import FrameDecoder as BusDecoder
from rpc import framing, table
from rpc.errors import VirError
from rpc.framing import FrameDecoder, FrameError
from rpc.streams import STREAM_TYPES, read_packet
from rpc.table import DecodeError
from supervisor.rpcd.requested_sizes import checks_of
from supervisor.workers.qemu.agent import replies as agent_replies
from supervisor.workers.qemu.agent.connection import AgentReply
from supervisor.workers.qemu.qmp import events, replies
from supervisor.workers.qemu.qmp.protocol import Decoder, QmpFormatError, encode_raw_command

PIECES: Final = (1, 7, 28, 1000)  # bytes at a time
#: Whatever a reply may be decoded as.
QMP_TYPES: Final = [
    kind
    for module in (replies, events)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
]
AGENT_TYPES: Final = [
    kind
    for kind in vars(agent_replies).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
]


def frames(data: bytes) -> None:
    """Split a client's bytes, at once and in pieces: all give the same messages."""
    expected, _ = split(data, 1)
    for size in (len(data) or 1, *PIECES):
        found, refused = split(data, size)
        assert found == expected[: len(found)]
        assert refused or len(found) == len(expected)
    for frame in expected:
        if frame.header.type in STREAM_TYPES:
            read_packet(frame)
        call(frame.header.program, frame.header.procedure, frame.payload)


def split(data: bytes, size: int) -> tuple[list[framing.Frame], bool]:
    """Feed a decoder pieces of this size; the messages, and whether it refused."""
    decoder, result = FrameDecoder(), list[framing.Frame]()
    try:
        for start in range(0, len(data), size):
            result += decoder.feed(data[start : start + size])
            assert decoder.buffered <= len(data) + framing.PIECE
    except FrameError:
        return result, True
    return result, False


def call(program: int, number: int, payload: bytes) -> None:
    """Decode a call's arguments; what can be read is written and read as the same."""
    found = table.load().program(program)
    procedure = found.procedure(number) if found is not None else None
    if procedure is None:
        return
    try:
        values = procedure.decode_args(payload)
    except DecodeError:
        return
    again = procedure.encode_args(values)
    assert procedure.encode_args(procedure.decode_args(again)) == again
    try:
        for check in checks_of(procedure):
            check(values)
    except VirError:
        return


def calls(data: bytes) -> None:
    """Decode arguments behind the numbers of a program and a procedure."""
    call(int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big"), data[8:])


def bus(data: bytes) -> None:
    """Split the bytes of a process of ours: one that was taken over is hostile, too."""
    try:
        BusDecoder().feed(data)
    except ProtocolError:
        return


def qmp(data: bytes) -> None:
    """Read what a QEMU says."""
    for size in (len(data) or 1, *PIECES):
        decoder = Decoder(1 << 16)
        try:
            for start in range(0, len(data), size):
                for message in decoder.feed(data[start : start + size]):
                    for value in (message.return_value, message.data):
                        decode(bytes(value or b"{}"), QMP_TYPES)
        except QmpFormatError:
            continue
    try:
        encode_raw_command(msgspec.Raw(data), 1)
    except ValueError:
        return


def agent(data: bytes) -> None:
    """Read what a guest's agent says."""
    for line in data.split(b"\n"):
        try:
            reply = msgspec.json.decode(line.rpartition(b"\xff")[2].strip(), type=AgentReply)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            continue
        decode(bytes(reply.return_value) or b"null", AGENT_TYPES)


def decode(data: bytes, kinds: list[type]) -> None:
    """Decode a value as each type, with the refusals that callers expect."""
    for kind in kinds:
        try:
            msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            continue
