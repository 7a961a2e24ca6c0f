"""Replies of a QEMU that is slow: the last one, at once; none where it never gave one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.qmp.monitor import Query
from supervisor.workers.qemu.stats import last_replies
from supervisor.workers.qemu.stats.last_replies import LastReplies

A, B = Query("query-a", int), Query("query-b", int)


class SlowMonitor:
    """A QEMU that replies when it is let, with a number that grows."""

    def __init__(self) -> None:
        self.replies = asyncio.Event()
        self.replies.set()
        self.asked: list[str] = []
        self.connected = True

    async def query_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[object]:
        self.asked += [query.command for query in queries]
        try:
            async with asyncio.timeout(timeout_s):
                await self.replies.wait()
        except TimeoutError:
            raise VirError(ErrorCode.OPERATION_TIMEOUT, "no reply") from None
        return [len(self.asked) for _ in queries]


def replies_of(monitor: SlowMonitor) -> LastReplies:
    def connected() -> SlowMonitor:
        if not monitor.connected:
            raise VirError(ErrorCode.OPERATION_FAILED, "not connected")
        return monitor

    return LastReplies(connected)  # type: ignore[arg-type]


async def test_a_qemu_that_replies_is_asked_each_time() -> None:
    monitor = SlowMonitor()
    replies = replies_of(monitor)
    assert await replies.get_all([A, B]) == [2, 2]
    assert await replies.get(A, int) == 3


async def test_a_busy_qemu_is_asked_once_and_its_last_reply_repeated() -> None:
    monitor = SlowMonitor()
    replies = replies_of(monitor)
    await replies.get_all([A])
    monitor.replies.clear()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(3):
        assert await replies.get(A, int) == 1
    assert loop.time() - began < 0.5
    assert monitor.asked == ["query-a", "query-a"]
    monitor.replies.set()
    await asyncio.sleep(0)
    assert await replies.get(A, int) in (2, 3)


async def test_only_the_first_who_asks_waits_for_a_busy_qemu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(last_replies, "FRESH_S", 0.2)
    monitor = SlowMonitor()
    replies = replies_of(monitor)
    await replies.get_all([A])
    monitor.replies.clear()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(10):
        assert await replies.get(A, int) == 1
    assert loop.time() - began < 1.0
    monitor.replies.set()


async def test_without_any_reply_the_deadline_is_kept() -> None:
    monitor = SlowMonitor()
    replies = replies_of(monitor)
    monitor.replies.clear()
    with pytest.raises(VirError, match="no reply"):
        await replies.get_all([A], timeout_s=0.01)


async def test_a_lost_monitor_leaves_what_is_known() -> None:
    monitor = SlowMonitor()
    replies = replies_of(monitor)
    await replies.get_all([A])
    monitor.connected = False
    assert await replies.get(A, int) == 1
    with pytest.raises(VirError, match="not connected"):
        await replies.get(B, int)
