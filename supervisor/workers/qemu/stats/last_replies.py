"""Queries whose last reply is good enough where QEMU is slow to give another one.

Owns: the last replies of one QEMU, and the queries under way. May touch: QEMU, by QMP.

While QEMU finishes a migration, a dump or a block job it answers nothing for up to seconds. Those
who watch guests must not wait with it: they get what QEMU said last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from rpc.errors import VirError
from supervisor.workers.qemu.qmp.monitor import COMMAND_S, Monitor, QmpError, Query

#: A new reply is waited for so long; then the last one is given. Those who ask next do not wait for
#: a QEMU that owes its reply for longer already.
FRESH_S: Final = 0.02
T = TypeVar("T")

Key = tuple[str, str]  # of a query: its command and arguments


class LastReplies:
    """What one QEMU said last."""

    def __init__(self, monitor: Callable[[], Monitor]) -> None:
        """Know nothing.

        Args:
            monitor: returns the connected one, or raises.
        """
        self._monitor = monitor
        self._last: dict[Key, object] = {}
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._asked_at: dict[Key, float] = {}  # the event loop's time

    async def get_all(
        self, queries: Sequence[Query], *, timeout_s: float = COMMAND_S
    ) -> list[object]:
        """Execute queries in one round trip, or repeat their last replies.

        Args:
            queries: which.
            timeout_s: how long a reply is waited for that never came before.

        Returns:
            A reply for each query, or the `QmpError` that it failed with.

        Raises:
            VirError: there is no reply to one of them, now or before.
        """
        keys = [_key(query) for query in queries]
        are_known = all(key in self._last for key in keys)
        try:
            tasks = self._ask_missing(queries, timeout_s)
            timeout = self._patience_s(keys) if are_known else None
            done, _ = await asyncio.wait(tasks, timeout=timeout)
            if not are_known:
                for task in done:
                    task.result()
        except VirError:
            if not are_known:
                raise
        return [self._last[key] for key in keys]

    async def get(self, query: Query, reply_type: type[T]) -> T:
        """Execute one query, or repeat its last reply.

        Raises:
            QmpError: QEMU refused it; VirError: there is no reply, now or before.
        """
        (reply,) = await self.get_all([query])
        if isinstance(reply, QmpError):
            raise reply
        assert isinstance(reply, reply_type), "it was decoded as that"
        return reply

    async def get_list(self, query: Query, item_type: type[T]) -> list[T]:
        """Execute a query that returns a list, or repeat its last reply. Raises as `get`."""
        reply = await self.get(query, list)
        return [item for item in reply if isinstance(item, item_type)]

    def _patience_s(self, keys: Sequence[Key]) -> float:
        now = asyncio.get_running_loop().time()
        oldest = min((self._asked_at.get(key, now) for key in keys), default=now)
        return max(0.0, oldest + FRESH_S - now)

    def _ask_missing(self, queries: Sequence[Query], timeout_s: float) -> set[asyncio.Task[None]]:
        """Send the queries to which QEMU does not owe a reply already; who waits shares it.

        Raises:
            VirError: the monitor is not connected.
        """
        missing = [query for query in queries if _key(query) not in self._asking]
        if missing:
            task = asyncio.create_task(self._ask(self._monitor(), missing, timeout_s))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._asking.update({_key(query): task for query in missing})
            now = asyncio.get_running_loop().time()
            self._asked_at.update({_key(query): now for query in missing})
        return {self._asking[_key(query)] for query in queries}

    async def _ask(self, monitor: Monitor, queries: Sequence[Query], timeout_s: float) -> None:
        keys = [_key(query) for query in queries]
        try:
            replies = await monitor.query_all(queries, timeout_s=timeout_s)
            self._last.update(zip(keys, replies, strict=True))
        finally:
            for key in keys:
                self._asking.pop(key, None)
                self._asked_at.pop(key, None)


def _key(query: Query) -> Key:
    return query.command, str(query.arguments or "")
