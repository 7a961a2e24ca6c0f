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
from supervisor.rpcd.transport.connected import SocketTransport
from supervisor.rpcd.transport.listener import MAX_WAITING
from supervisor.rpcd.transport.transport import Transport
from tests.unit.rpcd.server_under_test import DEADLINE_S, TestedServer, refuse_all

ANONYMOUS = DaemonConfig(auth_unix_rw="polkit", max_anonymous_clients=2)


class ServerOfStrangers(TestedServer):
    """A server whose clients are no root: the tests run as root, who is never authenticated."""

    uid = 1000

    def connect_unix(self, client: socket.socket) -> Transport:
        identity = Identity(uid=self.uid, gid=1000, pid=1)
        return SocketTransport(client, identity, "stranger", is_secure=True)


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


async def test_the_last_places_of_both_sockets_are_kept_for_root(tmp_path: Path) -> None:
    """Of 40 places strangers get 36, of the 20 read-only ones 18; who waits gets one that ends."""
    server = ServerOfStrangers(DaemonConfig(max_clients=40), refuse_all)
    clients = server.clients.clients
    for name in ("rw", "ro"):
        server.listen(name, listening(tmp_path / name))
    readers = [await connect(tmp_path / "ro") for _ in range(30)]
    await until(lambda: len(clients) == 18)
    others = [await connect(tmp_path / "rw") for _ in range(30)]
    await until(lambda: len(clients) == 36)
    server.uid = 0
    administrators = [await connect(tmp_path / name) for name in ("ro", "rw", "ro", "rw")]
    await until(lambda: len(clients) == 40)
    for end in administrators:
        end.close()
    await until(lambda: len(clients) == 36)
    before = set(clients)
    others[0].close()  # its place goes to one that waits
    await until(lambda: len(clients) == 36 and set(clients) != before)
    for end in (*readers, *others, *administrators):
        end.close()
    await until(lambda: not clients)
    server.close()
    server.end()


async def test_strangers_that_wait_for_a_place_are_few_and_make_way_when_they_leave(
    tmp_path: Path,
) -> None:
    server = ServerOfStrangers(DaemonConfig(max_clients=10), refuse_all)
    clients = server.clients.clients
    server.listen("rw", listening(tmp_path / "rw"))
    served = [await connect(tmp_path / "rw") for _ in range(9)]
    await until(lambda: len(clients) == 9)
    waiting = [await connect(tmp_path / "rw") for _ in range(MAX_WAITING)]
    loop = asyncio.get_running_loop()
    refused = await connect(tmp_path / "rw")
    async with asyncio.timeout(DEADLINE_S):
        assert await loop.sock_recv(refused, 1) == b""
    for gone in waiting[1:]:
        gone.close()
    late = await connect(tmp_path / "rw")
    await asyncio.sleep(0)
    served.pop().close()
    served.pop().close()
    served.append(waiting[0])
    for client in (*served, late):
        await loop.sock_sendall(client, bytes(3))
    await until(lambda: len(clients) == 9)
    for client in (*served, late, refused):
        client.close()
    await until(lambda: not clients)
    server.close()
    server.end()
