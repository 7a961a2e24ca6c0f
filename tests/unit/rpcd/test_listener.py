"""Which clients a listening socket accepts."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.settings import DaemonConfig
from supervisor.messages.calls import Identity
from supervisor.rpcd.server import SocketPolicy
from supervisor.rpcd.transport.transport import Transport
from tests.unit.rpcd.server_under_test import DEADLINE_S, TestedServer, refuse_all

ANONYMOUS = DaemonConfig(auth_unix_rw="polkit", max_anonymous_clients=2)


class ServerOfStrangers(TestedServer):
    """A server whose clients are no root: the tests run as root, who is never authenticated."""

    def accept(self, transport: Transport, policy: SocketPolicy) -> None:
        transport.identity = Identity(uid=1000, gid=1000, pid=transport.identity.pid)
        super().accept(transport, policy)


def listening(path: Path) -> socket.socket:
    """A listening socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


async def connect(path: Path) -> socket.socket:
    """Connect a client."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(0)
    await asyncio.get_running_loop().sock_connect(client, str(path))
    return client


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (the server's own turns are awaited)
            await asyncio.sleep(0)


def test_listener_closes_clients_beyond_max_anonymous_clients(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        server = ServerOfStrangers(ANONYMOUS, refuse_all)
        clients = server.clients.clients
        polkit, none = tmp_path / "rw", tmp_path / "ro"
        server.listen("rw", listening(polkit))
        server.listen("ro", listening(none))
        connected = [await connect(polkit), await connect(polkit)]
        await until(lambda: len(clients) == 2)
        refused = await connect(polkit)
        async with asyncio.timeout(DEADLINE_S):
            assert await asyncio.get_running_loop().sock_recv(refused, 1) == b""
        read_only = await connect(none)  # auth_unix_ro is "none": it is not anonymous
        await until(lambda: len(clients) == 3)
        connected.pop().close()
        await until(lambda: len(clients) == 2)
        late = await connect(polkit)
        await until(lambda: len(clients) == 3)
        for client in (*connected, refused, read_only, late):
            client.close()
        await until(lambda: not clients)
        server.close()
        server.end()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert "max_anonymous_clients (2)" in caplog.text


def test_clients_beyond_max_clients_wait_until_one_is_closed(tmp_path: Path) -> None:
    async def run() -> None:
        server = TestedServer(DaemonConfig(max_clients=1), refuse_all)
        clients = server.clients.clients
        server.listen("rw", listening(tmp_path / "rw"))
        first = await connect(tmp_path / "rw")
        await until(lambda: len(clients) == 1)
        (first_client,) = clients
        second = await connect(tmp_path / "rw")
        first.close()
        await until(lambda: bool(clients) and first_client not in clients)
        assert len(clients) == 1
        second.close()
        await until(lambda: not clients)
        server.close()
        server.end()

    asyncio.run(run())


async def test_read_only_clients_leave_places_for_the_others(tmp_path: Path) -> None:
    server = TestedServer(DaemonConfig(max_clients=4), refuse_all)
    clients = server.clients.clients
    for name in ("rw", "ro"):
        server.listen(name, listening(tmp_path / name))
    readers = [await connect(tmp_path / "ro") for _ in range(4)]
    await until(lambda: len(clients) == 2)
    administrators = [await connect(tmp_path / "rw") for _ in range(2)]
    await until(lambda: len(clients) == 4)
    assert sorted(client.read_only for client in clients) == [False, False, True, True]
    for end in (*readers, *administrators):
        end.close()
    server.close()
    server.end()
