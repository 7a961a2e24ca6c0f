"""Sends commands to the guest agent of a running domain, one at a time.

Owns: finding its channel, the lock on it. May touch: the channel's socket.
Source: QEMU 7.2, "QEMU Guest Agent Protocol Reference"; libvirt 9.0's errors for each case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from rpc.enums import DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.agent.connection import (
    SYNC_S,
    AgentConnection,
    AgentReply,
    unresponsive,
)
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.protocol import Arguments, ErrorObject
from supervisor.workers.unix_sockets import connect

CHANNEL: Final = "org.qemu.guest_agent.0"  # the name by which agents open their virtio port
COMMAND_S: Final = 10.0
REFUSAL_S: Final = 2.0  # for a command that has no reply when it succeeds
T = TypeVar("T")


class AgentError(VirError):
    """The agent replied to a command with an error."""

    def __init__(self, command: str, error: ErrorObject) -> None:
        detail = f"unable to execute QEMU agent command '{command}': {error.desc}"
        super().__init__(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        self.error_class = error.error_class


def channel_path(guest: Guest) -> str | None:
    """Return the socket of the agent's channel; None: the domain has no such channel."""
    for channel in guest.domain.devices.channels:
        if channel.type == "unix" and channel.target_name == CHANNEL:
            return channel.path
    return None


def is_connected(guest: Guest) -> bool:
    """Return whether a program in the guest has the channel open (VSERPORT_CHANGE)."""
    return any(
        channel.target_name == CHANNEL and channel.target_state == "connected"
        for channel in guest.domain.devices.channels
    )


def require_agent(guest: Guest) -> Path:
    """Return the agent's socket.

    Raises:
        VirError: OPERATION_INVALID: the vCPUs do not run; ARGUMENT_UNSUPPORTED: no channel;
            AGENT_UNRESPONSIVE: no agent has opened it.
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
    """Execute a command and return what it returns, as JSON.

    Raises:
        AgentError: the agent replied with an error.
        VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED; as `require_agent`.
    """
    members: dict[str, object] = {"execute": command}
    if arguments:
        members["arguments"] = arguments
    reply = await exchange(guest, msgspec.json.encode(members), timeout_s)
    if reply.error is not None:
        raise AgentError(command, reply.error)
    return reply.return_value or msgspec.Raw(b"{}")


async def query(
    guest: Guest, command: str, reply_type: type[T], arguments: Arguments | None = None
) -> T:
    """Execute a command and decode what it returns. Raises as `execute`."""
    raw = await execute(guest, command, arguments)
    try:
        return msgspec.json.decode(raw, type=reply_type)
    except (msgspec.MsgspecError, RecursionError) as error:
        detail = f"guest agent of '{guest.name}' sent a malformed reply to {command}: {error}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error


async def exchange(guest: Guest, command: bytes, timeout_s: float) -> AgentReply:
    """Send one command and read its reply, after synchronizing.

    Raises:
        VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED; as `require_agent`.
    """
    async with _connection(guest, SYNC_S + timeout_s) as connection:
        await connection.send(command)
        return await connection.receive(timeout_s)


async def shutdown(guest: Guest, mode: str) -> None:
    """Have the guest shut down: "powerdown", "reboot" or "halt".

    guest-shutdown has no reply when it succeeds: the guest is on its way down. A refusal comes at
    once, and is awaited for `REFUSAL_S`.

    Raises:
        AgentError: the agent refuses.
        VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED; as `require_agent`.
    """
    command = {"execute": "guest-shutdown", "arguments": {"mode": mode}}
    async with _connection(guest, SYNC_S + REFUSAL_S + SYNC_S) as connection:
        await connection.send(msgspec.json.encode(command))
        error = await connection.receive_refusal(REFUSAL_S)
    if error is not None:
        raise AgentError("guest-shutdown", error)


@asynccontextmanager
async def _connection(guest: Guest, timeout_s: float) -> AsyncIterator[AgentConnection]:
    """Connect and synchronize; QEMU's channel serves one connection at a time, hence the lock."""
    path = require_agent(guest)
    try:
        async with asyncio.timeout(timeout_s), guest.agent_lock:
            end = await connect(path)
            with end:
                connection = AgentConnection(end, guest.name)
                await connection.synchronize()
                yield connection
    except (OSError, TimeoutError) as error:
        raise unresponsive(guest.name, str(error) or "no reply in time") from error
