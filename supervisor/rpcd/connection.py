"""Messages over a transport: bytes become frames with their descriptors.

Owns: the decoder, and changing the transport when a security layer comes below it.
May touch: one transport. May not touch: procedures, the bus. A client that sends garbage is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from rpc.framing import Frame, FrameDecoder, FrameError
from supervisor.rpcd.buffer_budget import BufferBudget
from supervisor.rpcd.transport.transport import Transport

log = logging.getLogger(__name__)


class Connection:
    """One client's messages."""

    def __init__(self, transport: Transport, budget: BufferBudget) -> None:
        self.transport = transport
        self._budget = budget
        self._decoder = FrameDecoder()
        self._calls = 0  # bytes of calls that wait or run
        self._on_frame: Callable[[Frame, list[int]], None]
        self._on_close: Callable[[], None]

    @property
    def name(self) -> str:
        """How log lines call the client."""
        return self.transport.name

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self.transport.closed

    def start(
        self, on_frame: Callable[[Frame, list[int]], None], on_close: Callable[[], None]
    ) -> None:
        """Begin to read. A frame comes with its descriptors, which the callback then owns."""
        self._on_frame = on_frame

        def closed() -> None:
            # The client and its connection hold each other: what is half read would wait for the
            # next collection.
            self._decoder = FrameDecoder()
            self._budget.forget(self)
            on_close()

        self._on_close = closed
        self.transport.start(self._received, closed)

    def change_transport(self, transport: Transport) -> None:
        """Go on with another transport: the bytes of a security layer come by it.

        Raises:
            ValueError: the client has sent bytes that the layer should have protected.
        """
        if self._decoder.buffered:
            raise ValueError("it sent unprotected bytes")
        self.transport = transport
        transport.start(self._received, self._on_close)

    @property
    def buffered(self) -> int:
        """The bytes of its unread replies, its waiting and running calls, its half message."""
        return self.transport.unsent + self._decoder.buffered + self._calls

    def count_calls(self, size: int) -> None:
        """Count the bytes of the client's calls that wait or run."""
        grown = size > self._calls
        self._calls = size
        if grown and not self.transport.closed:
            self._budget.report(self)

    def send(self, message: bytes, descriptors: list[int] | None = None) -> None:
        """Send a message, then its descriptors (which are closed once sent), in order."""
        self.transport.send(message, descriptors)
        if self.transport.unsent:
            self._budget.report(self)

    def _received(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            self.drop(str(error))
            return
        waiting = self.transport.descriptors
        for frame in frames:
            if self.transport.closed:
                return
            descriptors: list[int] = []
            if frame.descriptors:
                if frame.descriptors > len(waiting):
                    self.drop("it announced descriptors and sent none")
                    return
                descriptors = [waiting.popleft() for _ in range(frame.descriptors)]
            self._on_frame(frame, descriptors)
        expected = self._decoder.expected
        self.transport.expect(expected)
        if expected and not self.transport.closed:
            self._budget.report(self)

    def abandon(self, reason: str) -> None:
        """Forget the client, whose transport was given away, and log why."""
        log.warning("client %s is closed: %s", self.name, reason)
        self._on_close()

    def drop(self, reason: str) -> None:
        """Close the connection at once, and log why."""
        log.warning("client %s is closed: %s", self.name, reason)
        self.transport.close()
