"""Budget of bytes that all clients of rpcd together may have waiting in it.

Owns: the sum of unsent replies, of calls that wait or run and of half-read messages, and which
client is closed beyond it. May touch: connections, to close them.

A client may have 64 MiB unsent and a message of 32 MiB half read: a hundred of them would take the
memory of all. Beyond the budget the client that holds the most is closed, again and again, so that
one that holds little is never closed for the others.
"""

from __future__ import annotations

from typing import Final, Protocol

MAX_BUFFERED: Final = 64 * 1024 * 1024


class Buffering(Protocol):
    """A connection, as the budget needs it."""

    @property
    def buffered(self) -> int:
        """Return the bytes that wait in it, in both directions."""

    def drop(self, reason: str) -> None:
        """Close it at once, and log why."""


class BufferBudget:
    """The budget of one process."""

    def __init__(self, limit: int = MAX_BUFFERED) -> None:
        self._limit = limit
        self._held: dict[Buffering, int] = {}  # as last reported; it may be less by now
        self._total = 0

    def report(self, connection: Buffering) -> None:
        """Count what a connection holds after it grew; close the largest beyond the budget."""
        self._count(connection)
        if self._total > self._limit:
            self._reduce()

    def forget(self, connection: Buffering) -> None:
        """Count a connection no more: it is closed."""
        self._total -= self._held.pop(connection, 0)

    def _count(self, connection: Buffering) -> None:
        held = connection.buffered
        self._total += held - self._held.get(connection, 0)
        if held:
            self._held[connection] = held
        else:
            self._held.pop(connection, None)

    def _reduce(self) -> None:
        for connection in list(self._held):
            self._count(connection)  # what clients have read meanwhile was not reported
        while self._total > self._limit:
            largest = max(self._held, key=self._held.__getitem__)
            size = self._held[largest]
            self.forget(largest)
            largest.drop(
                f"all clients together have more than {self._limit >> 20} MiB waiting, and this "
                f"one the most of them, {size >> 20} MiB"
            )
