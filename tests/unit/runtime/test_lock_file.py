"""The lock of a domain's worker, and its file, which goes with the guest."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from supervisor.runtime.lock_file import LockHeld, remove_lock, take_lock


async def test_a_lock_is_held_by_one_worker(tmp_path: Path) -> None:
    path = tmp_path / "run/web.lock"
    fd = await take_lock(path, 1.0)
    with pytest.raises(LockHeld, match="another process has held"):
        await take_lock(path, 0.0)
    os.close(fd)
    os.close(await take_lock(path, 0.0))


async def test_a_worker_that_waited_holds_the_lock_of_the_file_that_is_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "web.lock"
    first = await take_lock(path, 1.0)
    waiting = asyncio.create_task(take_lock(path, 10.0))
    await asyncio.sleep(0)
    remove_lock(path)
    os.close(first)
    second = await waiting
    with pytest.raises(LockHeld):
        await take_lock(path, 0.0)  # the file that the next one finds is locked
    os.close(second)


def test_a_lock_that_is_gone_is_no_error(tmp_path: Path) -> None:
    remove_lock(tmp_path / "web.lock")
