"""The guest agent's protocol against an agent that is late, closes, or sends anything."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.messages.worker import Reboot, Shutdown
from supervisor.objects.change_lock import JOB_S
from supervisor.workers.qemu.agent import connection as connection_module
from supervisor.workers.qemu.agent.connection import SYNC_S, AgentConnection
from supervisor.workers.qemu.agent.guest_agent import REFUSAL_S

Agent = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
SHORT_S = 0.2
LONG_S = 5.0


@asynccontextmanager
async def connected(agent: Agent) -> AsyncIterator[AgentConnection]:
    """A connection to an agent that the test plays."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    task = asyncio.create_task(agent(reader, writer))
    try:
        connection = AgentConnection(ours, "demo")
        yield connection
        connection.close()
    finally:
        task.cancel()
        writer.close()


async def command(reader: asyncio.StreamReader) -> dict[str, Any]:
    line = await reader.readline()
    decoded: dict[str, Any] = json.loads(line.lstrip(b"\xff"))
    return decoded


async def sync(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, before: bytes) -> None:
    """Reply to guest-sync-delimited, after other bytes."""
    number = (await command(reader))["arguments"]["id"]
    writer.write(before + b"\xff" + json.dumps({"return": number}).encode() + b"\n")


async def test_replies_to_an_earlier_connection_are_skipped() -> None:
    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await sync(reader, writer, b'{"return": "late"}\n\xff{"return": 1}\n{"half')
        await command(reader)
        writer.write(b'{"return": {"ok": true}}\n')

    async with connected(agent) as connection:
        await connection.synchronize()
        await connection.send(b'{"execute": "guest-ping"}')
        reply = await connection.receive(LONG_S)
        assert bytes(reply.return_value) == b'{"ok": true}'


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"not json\n", ErrorCode.AGENT_UNSYNCED),
        (b'{"return": ' + b"[" * 3000 + b"\n", ErrorCode.AGENT_UNSYNCED),
        (b"\xfe\xfe\n", ErrorCode.AGENT_UNSYNCED),
        (b'{"error": "no object"}\n', ErrorCode.AGENT_UNSYNCED),
        (b"x" * 5000, ErrorCode.AGENT_UNSYNCED),
        (b"", ErrorCode.AGENT_UNRESPONSIVE),
    ],
)
async def test_malformed_replies_are_errors_of_the_agent(
    data: bytes, code: ErrorCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_REPLY", 4096)

    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await sync(reader, writer, b"")
        await command(reader)
        writer.write(data)
        await writer.drain()
        if not data:
            await asyncio.Event().wait()

    async with connected(agent) as connection:
        await connection.synchronize()
        await connection.send(b'{"execute": "guest-ping"}')
        with pytest.raises(VirError) as failed:
            await connection.receive(SHORT_S if not data else LONG_S)
        assert failed.value.code is code


async def test_an_agent_that_does_not_synchronize_is_unresponsive() -> None:
    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await command(reader)
        writer.write(b'\xff{"return": "another number"}\n')

    async with connected(agent) as connection:
        with pytest.raises(VirError, match="respond to synchronization") as failed:
            await connection.synchronize(SHORT_S)
        assert failed.value.code is ErrorCode.AGENT_UNRESPONSIVE


async def test_a_closed_channel_is_an_unresponsive_agent() -> None:
    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await command(reader)
        writer.close()

    async with connected(agent) as connection:
        with pytest.raises(VirError, match="disappeared") as failed:
            await connection.synchronize()
        assert failed.value.code is ErrorCode.AGENT_UNRESPONSIVE


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        (b'{"error": {"class": "GenericError", "desc": "no shutdown(8)"}}\n', "no shutdown(8)"),
        (b'{"return": {}}\n', None),
        (b"", None),  # on its way down, the guest says nothing
    ],
)
async def test_a_refusal_of_a_command_without_reply_is_read(
    reply: bytes, refusal: str | None
) -> None:
    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await sync(reader, writer, b"")
        await command(reader)
        writer.write(reply)
        await writer.drain()
        await asyncio.Event().wait()

    async with connected(agent) as connection:
        await connection.synchronize()
        await connection.send(b'{"execute": "guest-shutdown"}')
        error = await connection.receive_refusal(SHORT_S)
        assert (error.desc if error is not None else None) == refusal


def test_a_shutdown_outlasts_its_wait_for_a_busy_agent() -> None:
    assert min(Shutdown.deadline_s, Reboot.deadline_s) > JOB_S + SYNC_S + REFUSAL_S
