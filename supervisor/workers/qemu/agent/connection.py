"""The guest agent's protocol on one connection to its channel.

Owns: framing and synchronization. May touch: the socket.
Source: QEMU 7.2, "QEMU Guest Agent Protocol Reference", guest-sync-delimited.

What comes back is written by the guest, which is not trusted: sizes and nesting are limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from typing import Final

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.qmp.protocol import ErrorObject

SYNC_S: Final = 5.0  # as libvirt's VIR_DOMAIN_QEMU_AGENT_COMMAND_DEFAULT
MAX_REPLY: Final = 10 << 20  # bytes, as libvirt's QEMU_AGENT_MAX_RESPONSE
MAX_SHOWN: Final = 200  # bytes of what the agent sent, in an error
CHUNK: Final = 1 << 16
DELIMITER: Final = b"\xff"  # never in JSON, which is UTF-8: it marks the reply to a sync


class AgentReply(msgspec.Struct, frozen=True):
    """The agent's reply to a command; with an error, `return_value` is empty."""

    return_value: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="return")
    error: ErrorObject | None = None


class AgentConnection:
    """One connection to the agent."""

    def __init__(self, end: socket.socket, name: str) -> None:
        """Take a connected socket over; `name` is the domain's."""
        self._socket = end
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._idle: asyncio.TimerHandle | None = None
        self.is_ended = False  # the other end has closed it, or the agent the channel

    def disconnect(self) -> None:
        """End the waits: the agent has closed the channel, so no reply comes any more."""
        self.is_ended = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close_when_idle(self, idle_s: float, closed: Callable[[], None]) -> None:
        """Close it if `use` is not called in time, and call `closed` then."""

        def close() -> None:
            self.close()
            closed()

        self._idle = self._loop.call_later(idle_s, close)

    def use(self) -> None:
        """Keep it open for a command."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def close(self) -> None:
        """Close the socket."""
        self.use()
        self.is_ended = True
        self._socket.close()

    async def synchronize(self, timeout_s: float = SYNC_S) -> None:
        """Skip replies to commands of earlier connections, which a virtio channel keeps.

        The delimiter before the command makes the agent drop a half-written command, too.

        Raises:
            VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED.
        """
        number = secrets.randbelow(1 << 31)
        request = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
        try:
            async with asyncio.timeout(timeout_s):
                await self.send(DELIMITER + msgspec.json.encode(request))
                while True:
                    reply = await self._line(after=DELIMITER)
                    if bytes(reply.return_value) == str(number).encode():
                        return
        except TimeoutError:
            raise self._late("synchronization", timeout_s) from None

    async def send(self, command: bytes) -> None:
        """Send a command, which has no newline of its own."""
        await self._loop.sock_sendall(self._socket, command + b"\n")

    async def receive(self, timeout_s: float) -> AgentReply:
        """Read a reply.

        Raises:
            VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED; INTERNAL_ERROR: it is no reply.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._line()
        except TimeoutError:
            raise self._late("command", timeout_s) from None

    async def receive_refusal(self, timeout_s: float) -> ErrorObject | None:
        """Read the reply to a command that has none when it succeeds.

        Returns:
            The agent's error; None: success, no reply in time, or the channel was closed.

        Raises:
            VirError: AGENT_UNSYNCED.
        """
        try:
            return (await self.receive(timeout_s)).error
        except VirError as error:
            if error.code is ErrorCode.AGENT_UNRESPONSIVE:
                return None
            raise

    async def _line(self, after: bytes = b"") -> AgentReply:
        while True:
            end = self._buffer.find(b"\n")
            if end < 0:
                await self._fill_buffer()
                continue
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if after and after not in line:
                continue
            line = line.rpartition(DELIMITER)[2].strip()
            if line:
                return self._decode(line)

    async def _fill_buffer(self) -> None:
        if len(self._buffer) > MAX_REPLY:
            raise self._unsynced(f"a reply has more than {MAX_REPLY} bytes")
        data = await self._loop.sock_recv(self._socket, CHUNK)
        if not data:
            self.is_ended = True
            raise unresponsive(f"Guest agent of '{self._name}' disappeared while executing command")
        self._buffer += data

    def _decode(self, line: bytes) -> AgentReply:
        try:
            reply = msgspec.json.decode(line, type=AgentReply)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise self._unsynced(str(error)) from error
        if not bytes(reply.return_value) and reply.error is None:
            detail = f"Unknown JSON reply '{line[:MAX_SHOWN].decode(errors='replace')}'"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        return reply

    def _late(self, what: str, timeout_s: float) -> VirError:
        return unresponsive(
            f"guest agent didn't respond to {what} within '{timeout_s:g}' seconds in '{self._name}'"
        )

    def _unsynced(self, reason: str) -> VirError:
        detail = f"guest agent of '{self._name}' is out of sync: {reason}"
        return VirError(ErrorCode.AGENT_UNSYNCED, detail, ErrorDomain.QEMU)


def unresponsive(detail: str) -> VirError:
    """AGENT_UNRESPONSIVE: the agent does not reply, or there is none."""
    return VirError(ErrorCode.AGENT_UNRESPONSIVE, detail, ErrorDomain.QEMU)
