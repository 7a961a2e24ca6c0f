"""Errors of the bus: why a call has no reply of its service.

Owns: these errors. Errors of services cross through an `ErrorCodec`.
"""

from __future__ import annotations

from typing import Protocol


class BusError(Exception):
    """A call has no reply of its service."""


class PeerGone(BusError):
    """The peer ended, or closed the link, before it replied."""


class DeadlineExceeded(BusError):
    """No reply came within the call's deadline."""


class NoSuchService(BusError):
    """The root has no process of that name, or it was not ready in time."""


class QueueFull(BusError):
    """The peer reads slower than messages are made; nothing was sent."""


class ProtocolError(BusError):
    """Bytes that are no frame, or a message beyond the limits."""


class NoHandler(BusError):
    """The peer has no handler for the message."""


class HandlerFailed(BusError):
    """The handler raised an error that is not its service's; its process logged the traceback."""


class ErrorCodec(Protocol):
    """How a service's own exceptions cross the bus."""

    def encode(self, error: Exception) -> bytes | None:
        """Encode the error; None when it is not of the codec's kind."""

    def decode(self, data: bytes) -> Exception:
        """Decode the error."""


class NullErrorCodec:
    """The codec of a process whose services raise no errors of their own."""

    def encode(self, error: Exception) -> bytes | None:
        """Encode none."""
        return None

    def decode(self, data: bytes) -> Exception:
        """Report that this process cannot decode the peer's error."""
        return ProtocolError("an error of a kind unknown to this process")


#: The bus's own errors by their name in a frame.
BY_NAME: dict[str, type[BusError]] = {
    kind.__name__: kind
    for kind in (
        PeerGone, DeadlineExceeded, NoSuchService, QueueFull, ProtocolError, NoHandler,
        HandlerFailed,
    )
}  # fmt: skip
