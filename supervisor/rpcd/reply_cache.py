"""Reply cache: a repeated query is answered without a hop until its owner invalidates it.

Owns: those replies. May not touch: the bus, sockets.

An owner marks a reply as cacheable, and publishes the change's event, or `InvalidateCache` where
it has none, before it acknowledges any change. Both come over one link in order, so a client that
has seen a change never sees an older reply. A reply requested before the last of them is not kept:
it may predate the change.
"""

from __future__ import annotations

from typing import Final

from rpc.table import Procedure

MAX_REPLIES: Final = 4096
MAX_BYTES: Final = 16 * 1024 * 1024

Key = tuple[int, int, str, bytes]  # program, procedure, driver, encoded arguments


class ReplyCache:
    """Encoded replies by call."""

    def __init__(self) -> None:
        self.generation = 0  # counts invalidations
        self._replies: dict[Key, bytes] = {}
        self._bytes = 0

    def get(self, key: Key) -> bytes | None:
        """Look up a cached reply."""
        return self._replies.get(key)

    def put(self, key: Key, payload: bytes, generation: int) -> None:
        """Keep a reply requested at `generation`, unless the cache was invalidated since."""
        if generation != self.generation:
            return
        if len(self._replies) >= MAX_REPLIES or self._bytes + len(payload) > MAX_BYTES:
            self._replies.clear()
            self._bytes = 0
        self._replies[key] = payload
        self._bytes += len(payload) + len(key[3])

    def clear(self) -> None:
        """Drop every reply: something changed."""
        self.generation += 1
        self._replies.clear()
        self._bytes = 0


def cache_key(procedure: Procedure, payload: bytes, driver: str) -> Key:
    """Build a key that is equal for two calls that one reply answers."""
    return procedure.program, procedure.number, driver, payload
