"""HeldEvents: events that wait a moment, so that one send takes them along with what follows.

Owns: which links of a process hold events. May not touch: sockets.

A send wakes the process at the other end, and that costs more than the event itself. A change
publishes two or three events and is then replied to: one send instead of four. No frame of the
process overtakes an event, not even on another link: whoever hears of a change from a reply finds
that its event was sent before.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class HoldingLink(Protocol):
    """A link that holds events."""

    def send_held(self) -> None:
        """Send them."""


class HeldEvents:
    """The links of one process that hold events."""

    def __init__(self) -> None:
        self._links: dict[HoldingLink, None] = {}

    def add(self, link: HoldingLink) -> None:
        """Have a link's events sent soon: before the next frame, or in two turns of the loop.

        The first turn is for the task that the change wakes up, which often replies.
        """
        if not self._links:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self.send)
        self._links[link] = None

    def discard(self, link: HoldingLink) -> None:
        """Forget a link that has sent its events, or is closed."""
        self._links.pop(link, None)

    def send(self) -> None:
        """Send all that is held."""
        while self._links:
            link, _ = self._links.popitem()
            link.send_held()
