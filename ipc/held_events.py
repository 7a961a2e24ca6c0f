"""HeldEvents: events that wait a moment, so that one send takes them along with what follows.

Owns: which links of a process hold events. May not touch: sockets.

A send wakes the process at the other end, and that costs more than the event itself. A change
publishes two or three events and is then replied to: one send instead of four. No frame of the
process overtakes an event, not even on another link: whoever hears of a change from a reply finds
that its event was sent before.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

#: Turns of the loop that events wait for. A change that publishes an event wakes up the task that
#: replies to the call; `run_to_completion` lies between the two, and takes three turns.
TURNS: Final = 4


class HoldingLink(Protocol):
    """A link that holds events."""

    def send_held(self) -> None:
        """Send them."""


class HeldEvents:
    """The links of one process that hold events."""

    def __init__(self) -> None:
        self._links: dict[HoldingLink, None] = {}
        self._turns_left = 0
        self._is_waiting = False  # for the next turn

    def add(self, link: HoldingLink) -> None:
        """Have a link's events sent soon: before the next frame, or in some turns of the loop."""
        if not self._links:
            self._turns_left = TURNS
            self._wait()
        self._links[link] = None

    def _wait(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_waiting = False
        if not self._links:
            return
        self._turns_left -= 1
        if self._turns_left > 0:
            self._wait()
        else:
            self.send()

    def discard(self, link: HoldingLink) -> None:
        """Forget a link that has sent its events, or is closed."""
        self._links.pop(link, None)

    def send(self) -> None:
        """Send all that is held."""
        while self._links:
            link, _ = self._links.popitem()
            link.send_held()
