"""When calls are given up: one timer for all the calls of a link.

Owns: the timer. A timer a call costs more than the rest of sending it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadlines:
    """Numbers that expire unless they are removed first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[int], None]) -> None:
        """Expire nothing yet.

        Args:
            loop: whose clock it is.
            expire: called with a number whose time is over; the number is forgotten before.
        """
        self._loop = loop
        self._expire = expire
        self._times: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def __contains__(self, number: int) -> bool:
        return number in self._times

    def add(self, number: int, time: float) -> None:
        """Let a number expire at a time of the loop's clock."""
        self._times[number] = time
        if time < self._timer_at:
            self._arm(time)

    def remove(self, number: int) -> None:
        """Forget a number; the timer stays for those that come, and finds nothing otherwise."""
        self._times.pop(number, None)

    def clear(self) -> None:
        """Forget all and stop the timer."""
        self._times.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = float("inf")

    def _arm(self, time: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = time
        self._timer = self._loop.call_at(time, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        now = self._loop.time()
        for number in [n for n, time in self._times.items() if time <= now]:
            del self._times[number]
            self._expire(number)
        if self._times:
            first = min(self._times.values())
            if first < self._timer_at:
                self._arm(first)
