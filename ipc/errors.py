"""What can go wrong between two processes, as types that a caller can tell apart.

Owns: the errors of the bus itself. Errors of services cross through an `ErrorCodec`.
"""

from __future__ import annotations

from typing import Protocol


class BusError(Exception):
    """A call was not answered by its service, for a reason of the bus."""


class PeerGone(BusError):
    """The other process ended, or closed the link, before it answered."""


class DeadlineExceeded(BusError):
    """No answer came within the call's deadline."""


class NoSuchService(BusError):
    """The root knows no process of that name, and none came up in time."""


class QueueFull(BusError):
    """The peer takes messages slower than they are made; nothing was sent."""


class ProtocolError(BusError):
    """Bytes that no process of ours would send, or a message beyond the limits."""


class NoHandler(BusError):
    """The other process has no handler for the message."""


class HandlerFailed(BusError):
    """The handler failed in a way it should not have; its process logged the trace."""


class ErrorCodec(Protocol):
    """How a service's own exceptions cross the bus."""

    def encode(self, error: Exception) -> bytes | None:
        """Put the error into bytes; None when it is not one of these."""

    def decode(self, data: bytes) -> Exception:
        """Make the error again."""


class NullErrorCodec:
    """The codec of a process whose services have no exceptions of their own."""

    def encode(self, error: Exception) -> bytes | None:
        """Know none."""
        return None

    def decode(self, data: bytes) -> Exception:
        """Tell that the peer sent what this process cannot read."""
        return ProtocolError("an error of a kind unknown to this process")


#: The bus's own errors by the name that stands in a frame.
BY_NAME: dict[str, type[BusError]] = {
    kind.__name__: kind
    for kind in (
        PeerGone, DeadlineExceeded, NoSuchService, QueueFull, ProtocolError, NoHandler,
        HandlerFailed,
    )
}  # fmt: skip
