"""Turns: a client with many calls leaves the others theirs.

Owns: how many calls all clients begin in one turn of the loop, and which clients wait for the next.
May not touch: calls.

One read brings thousands of calls, many of which are answered at once; a hundred clients that do
this would keep the loop from everybody else for a second.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

CALLS_A_TURN: Final = 64  # of all clients together: 2 ms


class WaitingClient(Protocol):
    """A client whose calls wait."""

    def call_next(self) -> None:
        """Begin one of them, and wait again if there are more that may begin."""


class Turns:
    """The turns of one server's clients."""

    def __init__(self) -> None:
        self._left = CALLS_A_TURN
        self._waiting: dict[WaitingClient, None] = {}  # in their order
        self._scheduled = False

    def take(self) -> bool:
        """Return whether a call may begin in this turn, and count it."""
        if self._left == 0:
            return False
        self._left -= 1
        if self._left == 0:
            self._schedule()
        return True

    def wait(self, client: WaitingClient) -> None:
        """Have a client called when it is its turn."""
        self._waiting.setdefault(client)
        self._schedule()

    def forget(self, client: WaitingClient) -> None:
        """Have a client called no more."""
        self._waiting.pop(client, None)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        self._left = CALLS_A_TURN
        while self._waiting and self.take():
            client = next(iter(self._waiting))
            del self._waiting[client]
            client.call_next()
        if self._waiting:
            self._schedule()
