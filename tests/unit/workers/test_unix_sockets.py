"""Connecting to Unix sockets whose listener is slow."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from supervisor.workers.unix_sockets import connect, listen


async def test_connect_waits_while_the_backlog_is_full(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    with listen(path, backlog=0) as listener:
        queued = [await connect(path)]  # the kernel queues one more than the backlog
        waiting = asyncio.create_task(connect(path))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        accepted = [listener.accept()[0]]
        queued.append(await waiting)
        accepted.append(listener.accept()[0])
        queued[1].setblocking(True)
        accepted[1].sendall(b"greeting")
        assert queued[1].recv(16) == b"greeting"
        for end in (*queued, *accepted):
            end.close()


async def test_connect_gives_up_at_its_deadline(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    with listen(path, backlog=0), await connect(path), pytest.raises(TimeoutError):
        await connect(path, timeout_s=0.1)


async def test_connect_fails_at_once_without_a_listener(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))
    with pytest.raises(ConnectionRefusedError):
        await connect(path)
