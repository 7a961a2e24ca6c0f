"""Calls of one client that wait: for others of its calls, for its reading, for its turn.

Owns: their frames and descriptors. Pure, but for closing descriptors.

max_client_requests of its calls run at a time; a client that does not read its replies gets no
further ones.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from rpc.framing import Frame
from supervisor.rpcd.transport.connected import close_all

MAX_QUEUED: Final = 256 * 1024  # bytes of queued calls from which reading stops
QUEUED_CALL: Final = 512  # bytes that a queued call counts besides its payload
QUEUED_DESCRIPTOR: Final = 16 * 1024  # and for each descriptor: rpcd has few for all clients


class CallQueue:
    """Calls in the order in which they came."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Frame, list[int]]] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def size(self) -> int:
        """The bytes of the queued calls, with what each counts besides its payload."""
        return self._size

    @property
    def is_full(self) -> bool:
        """Whether the client's further bytes are better left with the kernel."""
        return self._size > MAX_QUEUED

    @property
    def has_room(self) -> bool:
        """Whether to read again; well below full, so that it is not switched for each call."""
        return self._size <= MAX_QUEUED // 2

    def append(self, frame: Frame, descriptors: list[int]) -> None:
        """Queue a call."""
        self._calls.append((frame, descriptors))
        self._size += weight(frame, descriptors)

    def pop(self) -> tuple[Frame, list[int]]:
        """Take the oldest call."""
        frame, descriptors = self._calls.popleft()
        self._size -= weight(frame, descriptors)
        return frame, descriptors

    def clear(self) -> None:
        """Drop every call: the client's connection is closed."""
        for _, descriptors in self._calls:
            close_all(descriptors)
        self._calls.clear()
        self._size = 0


def weight(frame: Frame, descriptors: list[int]) -> int:
    """Count a queued call's bytes; one without a payload counts too."""
    return QUEUED_CALL + len(frame.payload) + QUEUED_DESCRIPTOR * len(descriptors)
