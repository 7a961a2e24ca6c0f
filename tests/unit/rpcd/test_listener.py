"""Who comes in at the listening sockets, and who does not."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.settings import DaemonConfig
from supervisor.rpcd.transport.listener import Listener
from tests.unit.rpcd.router_under_test import DEADLINE_S, TestedFront, refuse_all

ANONYMOUS = DaemonConfig(auth_unix_rw="polkit", max_anonymous_clients=2)


class Untrusting(TestedFront):
    """A front that knows nobody by the user number: the tests run as root, whom all trust."""

    def is_trusted(self, uid: int, *, read_only: bool) -> bool:
        return super().is_trusted(uid + 1, read_only=read_only)


def listening(path: Path) -> socket.socket:
    """A door."""
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen()
    return door


async def come(path: Path) -> socket.socket:
    """A client at the door."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(0)
    await asyncio.get_running_loop().sock_connect(client, str(path))
    return client


async def until(met: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(DEADLINE_S):
        while not met():  # noqa: ASYNC110  (the session's own turns are awaited)
            await asyncio.sleep(0)


def test_a_stranger_too_many_is_hung_up_on_and_others_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        front = Untrusting(ANONYMOUS, refuse_all)
        strangers, trusted = tmp_path / "rw", tmp_path / "ro"
        doors = [
            Listener(front, listening(strangers), read_only=False),
            Listener(front, listening(trusted), read_only=True),
        ]
        inside = [await come(strangers), await come(strangers)]
        await until(lambda: len(front.clients) == 2)
        refused = await come(strangers)
        async with asyncio.timeout(DEADLINE_S):
            assert await asyncio.get_running_loop().sock_recv(refused, 1) == b""
        friend = await come(trusted)  # auth_unix_ro is "none": those are no strangers
        await until(lambda: len(front.clients) == 3)
        inside.pop().close()
        await until(lambda: len(front.clients) == 2)
        late = await come(strangers)
        await until(lambda: len(front.clients) == 3)
        for client in (*inside, refused, friend, late):
            client.close()
        await until(lambda: not front.clients)
        for door in doors:
            door.close()
        front.end()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert "max_anonymous_clients (2)" in caplog.text


def test_beyond_max_clients_new_ones_wait_until_one_has_left(tmp_path: Path) -> None:
    async def run() -> None:
        front = TestedFront(DaemonConfig(max_clients=1), refuse_all)
        door = Listener(front, listening(tmp_path / "rw"), read_only=False)
        first = await come(tmp_path / "rw")
        await until(lambda: len(front.clients) == 1)
        (former,) = front.clients
        second = await come(tmp_path / "rw")
        first.close()
        await until(lambda: bool(front.clients) and former not in front.clients)
        assert len(front.clients) == 1
        second.close()
        await until(lambda: not front.clients)
        door.close()
        front.end()

    asyncio.run(run())
