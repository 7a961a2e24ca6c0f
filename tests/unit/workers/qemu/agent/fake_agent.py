"""A guest agent of the test's at a domain's channel: honest, silent, dying, lying or flooding.

It listens where QEMU does; the fake QEMU says by VSERPORT_CHANGE that the guest has opened the
channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from supervisor.workers.unix_sockets import short_path
from tests.unit.workers.qemu.worker_under_test import Script, WorkerTree

CHANNEL = "org.qemu.guest_agent.0"


def port_changed(*, is_open: bool) -> dict[str, object]:
    """The event of the guest's opening or closing the channel."""
    return {"event": "VSERPORT_CHANGE", "data": {"open": is_open, "id": "channel0"}}


CONNECTED: Script = {"cont": [port_changed(is_open=True)]}


class Refusal(Exception):
    """The agent refuses a command."""

    def __init__(self, error_class: str = "GenericError", desc: str = "no") -> None:
        super().__init__(desc)
        self.reply = {"error": {"class": error_class, "desc": desc}}


class FakeAgent:
    """The agent; `returns` has what commands return, or a function of their arguments."""

    def __init__(self) -> None:
        self.returns: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.raw: bytes | None = None  # sent instead of every reply
        self.silent: set[str] = set()  # commands without reply
        self.heard = asyncio.Event()  # a command came
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError):
                while line := await reader.readline():
                    command = json.loads(line.lstrip(b"\xff"))
                    writer.write(self._answer(command["execute"], command.get("arguments", {})))
                    await writer.drain()
        finally:
            writer.close()

    def _answer(self, name: str, arguments: dict[str, Any]) -> bytes:
        if name == "guest-sync-delimited":
            if name in self.silent:
                return b""
            return b"\xff" + json.dumps({"return": arguments["id"]}).encode() + b"\n"
        self.asked.append((name, arguments))
        self.heard.set()
        if name in self.silent:
            return b""
        if self.raw is not None:
            return self.raw
        if name not in self.returns:
            desc = f"The command {name} has not been found"
            return json.dumps(Refusal("CommandNotFound", desc).reply).encode() + b"\n"
        value = self.returns[name]
        try:
            reply = {"return": value(arguments) if isinstance(value, Callable) else value}  # type: ignore[arg-type]
        except Refusal as refusal:
            reply = refusal.reply
        return json.dumps(reply).encode() + b"\n"

    def end_connections(self) -> None:
        """End its connections."""
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def agent_of(tree: WorkerTree) -> AsyncIterator[FakeAgent]:
    """An agent at the channel of the tree's running domain."""
    agent = FakeAgent()
    path = Path(tree.paths.channels(1, tree.name)) / CHANNEL
    with short_path(path) as name:
        server = await asyncio.start_unix_server(agent.serve, name)
    try:
        async with server:
            yield agent
            agent.end_connections()
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
