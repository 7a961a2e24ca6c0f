"""The agent in the guest, by its channel's socket.

Owns: asking it, one question at a time. May touch: the channel's socket.
Source: QEMU's guest agent reference. What it answers comes from the guest and is not trusted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from rpc.enums import DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.protocol import Arguments, ErrorObject
from supervisor.workers.qemu.start.live_xml import AGENT_CHANNEL
from supervisor.workers.unix_sockets import connect

SYNC_S: Final = 5.0
COMMAND_S: Final = 10.0
MAX_ANSWER: Final = 16 << 20
CHUNK: Final = 1 << 16
DELIMITER: Final = b"\xff"
T = TypeVar("T")

log = logging.getLogger(__name__)


class AgentReply(msgspec.Struct, frozen=True):
    """What the agent says; an empty `return_value` is an absent one."""

    return_value: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="return")
    error: ErrorObject | None = None


class AgentError(VirError):
    """The agent refused a command."""

    def __init__(self, command: str, error: ErrorObject) -> None:
        """Say what it said."""
        detail = f"unable to execute QEMU agent command '{command}': {error.desc}"
        super().__init__(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        self.error_class = error.error_class


def channel_path(guest: Guest) -> str | None:
    """The socket of the agent's channel; None: the guest has no such channel."""
    for channel in guest.domain.devices.channels:
        if channel.type == "unix" and channel.target_name == AGENT_CHANNEL:
            return channel.path
    return None


def is_connected(guest: Guest) -> bool:
    """Whether an agent has opened its channel."""
    return any(
        channel.target_name == AGENT_CHANNEL and channel.target_state == "connected"
        for channel in guest.domain.devices.channels
    )


def require_agent(guest: Guest) -> Path:
    """The agent's socket.

    Raises:
        VirError: OPERATION_INVALID: it stands still; ARGUMENT_UNSUPPORTED: no channel;
            AGENT_UNRESPONSIVE: nobody has opened it.
    """
    if guest.state is not DomainState.RUNNING:
        detail = f"domain is not running: '{guest.name}' is {guest.state.name.lower()}"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
    path = channel_path(guest)
    if path is None:
        detail = "QEMU guest agent is not configured"
        raise VirError(ErrorCode.ARGUMENT_UNSUPPORTED, detail, ErrorDomain.QEMU)
    if not is_connected(guest):
        detail = f"QEMU guest agent is not connected in '{guest.name}'"
        raise VirError(ErrorCode.AGENT_UNRESPONSIVE, detail, ErrorDomain.QEMU)
    return Path(path)


async def execute(
    guest: Guest, command: str, arguments: Arguments | None = None, timeout_s: float = COMMAND_S
) -> msgspec.Raw:
    """Ask the agent; its answer as it came.

    Raises:
        AgentError: it refuses.
        VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED; as `require_agent`.
    """
    members: dict[str, object] = {"execute": command}
    if arguments:
        members["arguments"] = arguments
    answer = await exchange(guest, msgspec.json.encode(members), timeout_s)
    if answer.error is not None:
        raise AgentError(command, answer.error)
    return answer.return_value or msgspec.Raw(b"{}")


async def query(
    guest: Guest, command: str, reply_type: type[T], arguments: Arguments | None = None
) -> T:
    """Ask the agent; the answer is read as `reply_type`. Raises as `execute`."""
    raw = await execute(guest, command, arguments)
    try:
        return msgspec.json.decode(raw, type=reply_type)
    except (msgspec.MsgspecError, RecursionError) as error:
        detail = f"the agent of '{guest.name}' answered {command} unintelligibly: {error}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error


async def exchange(guest: Guest, request: bytes, timeout_s: float) -> AgentReply:
    """Send one request and read its answer, synchronized before."""
    path = require_agent(guest)
    try:
        async with asyncio.timeout(SYNC_S + timeout_s), guest.agent_lock:
            end = await connect(path)
            with end:
                conversation = AgentConnection(end, guest.name)
                await conversation.synchronize()
                await conversation.send(request)
                return await conversation.receive(timeout_s)
    except (OSError, TimeoutError) as error:
        raise _unresponsive(guest.name, str(error) or "no answer in time") from error


async def shutdown(guest: Guest, mode: str) -> None:
    """Have the guest shut down: "powerdown", "reboot" or "halt".

    The agent answers only when it refuses; a guest on its way down says nothing.
    """
    path = require_agent(guest)
    request = {"execute": "guest-shutdown", "arguments": {"mode": mode}}
    try:
        async with asyncio.timeout(SYNC_S + SYNC_S), guest.agent_lock:
            end = await connect(path)
            with end:
                conversation = AgentConnection(end, guest.name)
                await conversation.synchronize()
                await conversation.send(msgspec.json.encode(request))
    except (OSError, TimeoutError) as error:
        raise _unresponsive(guest.name, str(error) or "no answer in time") from error


def _unresponsive(name: str, why: str) -> VirError:
    detail = f"guest agent of '{name}' is not responding: {why}"
    return VirError(ErrorCode.AGENT_UNRESPONSIVE, detail, ErrorDomain.QEMU)


class AgentConnection:
    """One connection to the agent."""

    def __init__(self, end: socket.socket, name: str) -> None:
        """Talk over this socket, which stays the caller's."""
        self._socket = end
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()

    async def synchronize(self) -> None:
        """Get past whatever an earlier conversation has left in the channel.

        Raises:
            VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED.
        """
        number = secrets.randbelow(1 << 31)
        request = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
        await self.send(DELIMITER + msgspec.json.encode(request))
        try:
            async with asyncio.timeout(SYNC_S):
                while True:
                    answer = await self._line(after=DELIMITER)
                    if bytes(answer.return_value) == str(number).encode():
                        return
        except TimeoutError:
            raise _unresponsive(self._name, f"no answer in {SYNC_S:.0f} s") from None

    async def send(self, request: bytes) -> None:
        """Send a request."""
        await self._loop.sock_sendall(self._socket, request + b"\n")

    async def receive(self, timeout_s: float) -> AgentReply:
        """Read the answer."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._line()
        except TimeoutError:
            raise _unresponsive(self._name, f"no answer in {timeout_s:.0f} s") from None

    async def _line(self, after: bytes = b"") -> AgentReply:
        while True:
            end = self._buffer.find(b"\n")
            if end < 0:
                await self._receive()
                continue
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if after and after not in line:
                continue
            line = line.rpartition(DELIMITER)[2].strip()
            if line:
                return self._decode(line)

    async def _receive(self) -> None:
        if len(self._buffer) > MAX_ANSWER:
            raise self._unsynced(f"it said more than {MAX_ANSWER} bytes")
        data = await self._loop.sock_recv(self._socket, CHUNK)
        if not data:
            raise _unresponsive(self._name, "its channel was closed")
        self._buffer += data

    def _decode(self, line: bytes) -> AgentReply:
        try:
            return msgspec.json.decode(line, type=AgentReply)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise self._unsynced(str(error)) from error

    def _unsynced(self, why: str) -> VirError:
        detail = f"the agent of '{self._name}' is out of step: {why}"
        return VirError(ErrorCode.AGENT_UNSYNCED, detail, ErrorDomain.QEMU)
