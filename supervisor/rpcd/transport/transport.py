"""What every transport offers: bytes in and out, flow control, facts about the peer.

Owns: the interface. Sockets implement it (`transport.connected`), and TLS over one of them.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

from supervisor.messages.calls import Identity


class Transport(Protocol):
    """A connection to one client."""

    name: str  # of the client, for log lines

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""

    identity: Identity  # what the transport knows of the peer
    is_secure: bool  # encrypted, or local to the host (virConnectIsSecure)
    passes_descriptors: bool  # a Unix socket
    addresses: tuple[str, str]  # ours and the client's, "ADDRESS;PORT"; "" on a Unix socket
    cipher_bits: int  # of TLS; 0: there is none
    descriptors: deque[int]  # received and not yet taken; their taker closes them

    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken."""

    @property
    def is_congested(self) -> bool:
        """Whether so much is unsent that nothing should be added: `drained` waits for its end."""

    def expect(self, size: int) -> None:
        """Tell how many bytes the message under way lacks: they may be read at once."""

    def start(self, on_data: Callable[[bytes], None], on_close: Callable[[], None]) -> None:
        """Begin to read; `on_close` is called once."""

    def send(self, data: bytes, descriptors: list[int] | None = None) -> None:
        """Send bytes, then descriptors, which are closed once sent."""

    def close(self) -> None:
        """Close at once; what is unsent is lost."""

    def close_when_sent(self) -> None:
        """Read no more, and close when everything queued is sent."""

    async def drained(self) -> None:
        """Wait until the client has read most of what was queued."""

    def pause_reading(self) -> None:
        """Leave further bytes with the kernel, which makes the client wait."""

    def resume_reading(self) -> None:
        """Read again."""

    def detach(self) -> socket.socket:
        """Give the socket away; the transport is closed, and `on_close` is not called.

        Raises:
            ValueError: bytes are not sent yet, or the transport is no bare socket.
        """
