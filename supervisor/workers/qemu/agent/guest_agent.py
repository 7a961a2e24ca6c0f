"""Sends commands to the guest agent of a running domain, one at a time.

Owns: finding its channel, the lock on it. May touch: the channel's socket.
Source: QEMU 7.2, "QEMU Guest Agent Protocol Reference"; libvirt 9.0's errors for each case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from rpc.enums import ConnectDomainEventAgentLifecycleReason as Reason
from rpc.enums import ConnectDomainEventAgentLifecycleState as State
from rpc.enums import DomainAgentResponseTimeoutValues as Timeout
from rpc.enums import DomainEventID, DomainState
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
#: The deadline where libvirt has none (VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK): below that of a
#: client's call, but for the commands that take as long as the guest's disks do.
BLOCK_S: Final = 50.0
LONG_S: Final = 3600.0
NOWAIT_S: Final = 0.1
#: How long the channel is kept open after a command: an agent takes 0.1 s to notice a new client.
IDLE_S: Final = 5.0
MAX_RESULT: Final = 1 << 20  # bytes of a reply that is decoded to structs, which take more
MAX_DESC: Final = 1000  # characters of an agent's error that a client gets
REFUSAL_S: Final = 2.0  # for a command that has no reply when it succeeds
T = TypeVar("T")

log = logging.getLogger(__name__)


class AgentError(VirError):
    """The agent replied to a command with an error."""

    def __init__(self, command: str, error: ErrorObject) -> None:
        reason = error.desc[:MAX_DESC] or error.error_class[:MAX_DESC]
        detail = f"unable to execute QEMU agent command '{command}': {reason}"
        super().__init__(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        #: Whether the agent does not know the command, or was told not to execute it.
        self.is_unsupported = error.error_class in ("CommandNotFound", "CommandDisabled")


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


def publish_state(guest: Guest, reason: Reason) -> None:
    """Publish whether the agent has the channel open (virConnectDomainEventAgentLifecycle)."""
    state = State.CONNECTED if is_connected(guest) else State.DISCONNECTED
    guest.publish_event(DomainEventID.AGENT_LIFECYCLE, guest.identity, state, reason)


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
        raise unresponsive(f"QEMU guest agent is not connected in '{guest.name}'")
    return Path(path)


def deadline_s(timeout: int, *, long: bool = False) -> float:
    """Convert a guest agent timeout (virDomainAgentResponseTimeoutValues) to seconds.

    Args:
        timeout: BLOCK, DEFAULT, NOWAIT, or seconds.
        long: the command takes as long as the guest's disks do.
    """
    if timeout == Timeout.BLOCK:
        return LONG_S if long else BLOCK_S
    if timeout == Timeout.DEFAULT:
        return SYNC_S
    if timeout == Timeout.NOWAIT:
        return NOWAIT_S
    return min(float(timeout), LONG_S if long else BLOCK_S)


async def execute(
    guest: Guest, command: str, arguments: Arguments | None = None, *, long: bool = False
) -> msgspec.Raw:
    """Execute a command and return what it returns, as JSON.

    Args:
        guest: whose agent.
        command: its name.
        arguments: its arguments.
        long: it takes as long as the guest's disks do.

    Raises:
        AgentError: the agent replied with an error.
        VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED; as `require_agent`.
    """
    timeout_s = deadline_s(guest.status.agent_timeout, long=long)
    reply = await exchange(guest, command, encode(command, arguments), timeout_s)
    if reply.error is not None:
        raise AgentError(command, reply.error)
    return reply.return_value


def encode(command: str, arguments: Arguments | None) -> bytes:
    """Encode a command."""
    members: dict[str, object] = {"execute": command}
    if arguments:
        members["arguments"] = arguments
    return msgspec.json.encode(members)


async def query(
    guest: Guest,
    command: str,
    reply_type: type[T],
    arguments: Arguments | None = None,
    *,
    long: bool = False,
) -> T:
    """Execute a command and decode what it returns. Raises as `execute`."""
    raw = await execute(guest, command, arguments, long=long)
    try:
        if len(bytes(raw)) > MAX_RESULT:
            raise ValueError(f"it has more than {MAX_RESULT} bytes")
        return msgspec.json.decode(raw, type=reply_type)
    except (ValueError, RecursionError) as error:
        detail = f"malformed return value of {command} from the agent of '{guest.name}': {error}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error


async def exchange(guest: Guest, command: str, line: bytes, timeout_s: float) -> AgentReply:
    """Send one command and read its reply, after synchronizing.

    Args:
        guest: whose agent.
        command: its name, for those who wait for the agent meanwhile.
        line: the command in JSON, without a newline.
        timeout_s: for the reply.

    Raises:
        VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED; OPERATION_TIMEOUT: another command keeps the
            agent busy; as `require_agent`.
    """
    async with _connection(guest, command, timeout_s) as connection:
        await connection.send(line)
        return await connection.receive(timeout_s)


async def shutdown(guest: Guest, mode: str) -> None:
    """Have the guest shut down: "powerdown", "reboot" or "halt".

    guest-shutdown has no reply when it succeeds: the guest is on its way down. A refusal comes at
    once, and is awaited for `REFUSAL_S`.

    Raises:
        AgentError: the agent refuses.
        VirError: AGENT_UNRESPONSIVE, AGENT_UNSYNCED; as `require_agent`.
    """
    async with _connection(guest, "guest-shutdown", SYNC_S + REFUSAL_S) as connection:
        await connection.send(encode("guest-shutdown", {"mode": mode}))
        error = await connection.receive_refusal(REFUSAL_S)
    if error is not None:
        raise AgentError("guest-shutdown", error)


async def execute_until_event(guest: Guest, command: str, events: Collection[str]) -> None:
    """Execute a command that has no reply when it succeeds, but an event of QEMU.

    Raises:
        AgentError: the agent refuses.
        VirError: AGENT_UNRESPONSIVE: neither reply nor event in time; AGENT_UNSYNCED; as
            `require_agent`.
    """
    require_agent(guest)
    timeout_s = deadline_s(guest.status.agent_timeout)
    with guest.await_event(events) as happened:
        try:
            async with _connection(guest, command, timeout_s) as connection:
                await connection.send(encode(command, None))
                error = await _reply_or_event(connection, happened, timeout_s)
        except VirError:
            # A guest that falls asleep closes its ports first: the agent is gone before the event.
            if is_connected(guest) or not await _happens(happened):
                raise
            return
    if error is not None:
        raise AgentError(command, error)


async def _reply_or_event(
    connection: AgentConnection, happened: asyncio.Event, timeout_s: float
) -> ErrorObject | None:
    """Wait for the first of both; return the error of the reply, None without one."""
    reply = asyncio.ensure_future(connection.receive(timeout_s))
    event = asyncio.ensure_future(happened.wait())
    try:
        await asyncio.wait({reply, event}, return_when=asyncio.FIRST_COMPLETED)
        return None if happened.is_set() else (await reply).error
    finally:
        reply.cancel()
        event.cancel()
        await asyncio.gather(reply, event, return_exceptions=True)


async def _happens(event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(SYNC_S):
            await event.wait()
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def _connection(
    guest: Guest, command: str, timeout_s: float
) -> AsyncIterator[AgentConnection]:
    """Connect and synchronize; QEMU's channel serves one connection at a time, hence the lock."""
    require_agent(guest)
    async with guest.agent_lock.hold(command):
        path = require_agent(guest)  # it may have gone while this command waited
        try:
            async with asyncio.timeout(2 * SYNC_S + timeout_s):
                connection = await _synchronized(guest, path, min(SYNC_S, timeout_s))
                yield connection
        except (OSError, TimeoutError) as error:
            guest.drop_agent_connection()
            detail = f"guest agent of '{guest.name}': {str(error) or 'no reply in time'}"
            raise unresponsive(detail) from error
        except BaseException:
            guest.drop_agent_connection()  # a reply may still come by it
            raise
        connection.close_when_idle(IDLE_S, guest.drop_agent_connection)


async def _synchronized(guest: Guest, path: Path, timeout_s: float) -> AgentConnection:
    """Synchronize the last command's connection, or a new one where that has ended."""
    kept = guest.agent_connection
    if kept is not None and not kept.is_ended:
        kept.use()
        try:
            await kept.synchronize(timeout_s)
        except OSError:
            log.debug("%s: the channel of the guest agent is opened anew", guest.name)
        except VirError:
            if not kept.is_ended:
                raise
        else:
            return kept
    guest.drop_agent_connection()
    connection = guest.agent_connection = AgentConnection(await connect(path), guest.name)
    await connection.synchronize(timeout_s)
    return connection
