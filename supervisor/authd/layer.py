"""Copies between a client and rpcd through a SASL security layer (integrity, privacy).

Owns: both sockets and the layer. May not touch: messages; rpcd reads and checks them.

rpcd cannot hold the layer itself: it is libsasl2's, which may have read keys that rpcd may not.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from ipc.reset_sockets import take_reset
from supervisor.authd.cyrus import SaslConnection, SaslError

CHUNK: Final = 65536
SEND_S: Final = 60.0  # for the peer to take one chunk

log = logging.getLogger(__name__)


class Direction:
    """One direction: bytes are read, transformed and sent; none are read before those are sent."""

    def __init__(
        self,
        source: socket.socket,
        target: socket.socket,
        transform: Callable[[bytes], bytes],
        on_end: Callable[[Exception | None], None],
        *,
        chunk: int,
    ) -> None:
        """Begin to read.

        Args:
            source: non-blocking, as the target.
            target: where the bytes go.
            transform: encodes or decodes; b"": more is needed first.
            on_end: called once, with what went wrong.
            chunk: bytes that are read at once.
        """
        self._source, self._target = source, target
        self._transform = transform
        self._on_end = on_end
        self._chunk = chunk
        self._unsent = memoryview(b"")
        self._deadline: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(source, self._readable)

    def close(self) -> None:
        """Stop; the sockets are the caller's."""
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._target)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _readable(self) -> None:
        try:
            data = self._source.recv(self._chunk)
            if not data:
                self._on_end(None)
                return
            self._unsent = memoryview(self._transform(data))
        except BlockingIOError:
            return
        except (OSError, SaslError) as error:
            self._on_end(error)
            return
        self._send()
        if self._unsent:
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._target, self._writable)
            self._deadline = self._loop.call_later(SEND_S, self._on_end, TimeoutError())
        elif self._source.fileno() >= 0 and take_reset(self._source):
            self._loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        if self._source.fileno() >= 0 and self._deadline is None:
            self._loop.remove_reader(self._source)
            self._loop.add_reader(self._source, self._readable)

    def _send(self) -> None:
        if not self._unsent:
            return
        try:
            self._unsent = self._unsent[self._target.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._unsent = memoryview(b"")
            self._on_end(error)

    def _writable(self) -> None:
        self._send()
        if self._unsent or self._deadline is None:
            return
        self._deadline.cancel()
        self._deadline = None
        self._loop.remove_writer(self._target)
        self._loop.add_reader(self._source, self._readable)


class LayerCopy:
    """One client's copying."""

    def __init__(
        self, name: str, layer: SaslConnection, client: socket.socket, plain: socket.socket
    ) -> None:
        self._name = name
        self._layer = layer
        self._client, self._plain = client, plain
        self._directions: list[Direction] = []
        self._closed = False
        self.on_end: Callable[[], None] = _ignore
        client.settimeout(0)
        plain.settimeout(0)
        # What a layer encodes at once is the client's word, at most what we offered.
        self._chunk = max(1, min(layer.max_encoded() or CHUNK, CHUNK))

    def start(self) -> None:
        """Begin to copy in both directions; the end of one ends both."""
        client, plain = self._client, self._plain
        self._directions = [
            Direction(client, plain, self._layer.decode, self._ended, chunk=CHUNK),
            Direction(plain, client, self._layer.encode, self._ended, chunk=self._chunk),
        ]

    def close(self) -> None:
        """End at once."""
        if self._closed:
            return
        self._closed = True
        for direction in self._directions:
            direction.close()
        self._client.close()
        self._plain.close()
        self._layer.close()
        self.on_end()

    def _ended(self, error: Exception | None) -> None:
        if isinstance(error, SaslError):
            log.warning("client %s is closed: SASL: %s", self._name, error)
        self.close()


def _ignore() -> None:
    """Do nothing; the default of `on_end`."""
