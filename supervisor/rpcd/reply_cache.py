"""Answers that hold until their owner says otherwise: a repeated query needs no hop.

Owns: those answers. May not touch: the bus, sockets.

An owner marks a reply as cacheable, and publishes `InvalidateCache` before it acknowledges any
change. Both come over one link in order, so a client that has seen a change never sees an older
reply. A reply requested before the last `InvalidateCache` is not kept: it may predate the change.
"""

from __future__ import annotations

from typing import Final

MAX_ANSWERS: Final = 4096
MAX_BYTES: Final = 16 * 1024 * 1024

Key = tuple[int, int, str, bytes]  # program, procedure, driver, encoded arguments


class Kept:
    """The answers of one service."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.age = 0  # grows with every change
        self._answers: dict[Key, bytes] = {}
        self._bytes = 0

    def get(self, key: Key) -> bytes | None:
        """The answer that still holds."""
        return self._answers.get(key)

    def put(self, key: Key, payload: bytes, age: int) -> None:
        """Keep an answer that was asked for at `age`, unless something has changed since."""
        if age != self.age:
            return
        if len(self._answers) >= MAX_ANSWERS or self._bytes + len(payload) > MAX_BYTES:
            self._answers.clear()
            self._bytes = 0
        self._answers[key] = payload
        self._bytes += len(payload) + len(key[3])

    def clear(self) -> None:
        """Something has changed."""
        self.age += 1
        self._answers.clear()
        self._bytes = 0
