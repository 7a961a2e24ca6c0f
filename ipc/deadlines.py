"""Deadlines of a link's calls, on one timer of the loop.

Owns: the timer. One `call_later` for each call would cost more than sending the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadlines:
    """Call numbers that expire unless they are removed first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[int], None]) -> None:
        """Start without a deadline.

        Args:
            loop: whose clock the times are of.
            expire: called with each number that expires, which is removed before.
        """
        self._loop = loop
        self._expire = expire
        self._times: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def __contains__(self, number: int) -> bool:
        return number in self._times

    def add(self, number: int, time: float) -> None:
        """Expire a number at a time of the loop's clock."""
        self._times[number] = time
        if time < self._timer_at:
            self._arm(time)

    def remove(self, number: int) -> None:
        """Remove a number. The timer is left: rearming it would cost more than one idle wake-up."""
        self._times.pop(number, None)

    def clear(self) -> None:
        """Remove all numbers and stop the timer."""
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
