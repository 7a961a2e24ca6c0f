"""Answers that hold until their owner says otherwise: a repeated query needs no hop.

Owns: those answers. May not touch: the bus, sockets.

An owner marks a reply as cacheable, and publishes `InvalidateCache` before it acknowledges any
change. Both come over one link in order, so a client that has seen a change never sees an older
reply. A reply requested before the last `InvalidateCache` is not kept: it may predate the change.
"""

from __future__ import annotations

from typing import Final

MAX_REPLIES: Final = 4096
MAX_BYTES: Final = 16 * 1024 * 1024

Key = tuple[int, int, str, bytes]  # program, procedure, driver, encoded arguments


class ReplyCache:
    """The answers of one service."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.generation = 0  # grows with every change
        self._replies: dict[Key, bytes] = {}
        self._bytes = 0

    def get(self, key: Key) -> bytes | None:
        """The answer that still holds."""
        return self._replies.get(key)

    def put(self, key: Key, payload: bytes, generation: int) -> None:
        """Keep an answer that was asked for at `generation`, unless something has changed since."""
        if generation != self.generation:
            return
        if len(self._replies) >= MAX_REPLIES or self._bytes + len(payload) > MAX_BYTES:
            self._replies.clear()
            self._bytes = 0
        self._replies[key] = payload
        self._bytes += len(payload) + len(key[3])

    def clear(self) -> None:
        """Something has changed."""
        self.generation += 1
        self._replies.clear()
        self._bytes = 0
