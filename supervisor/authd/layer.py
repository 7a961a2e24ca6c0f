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

from supervisor.authd.cyrus import SaslConnection, SaslError

CHUNK: Final = 65536
SEND_S: Final = 60.0  # for the peer to take one chunk

log = logging.getLogger(__name__)


class LayerCopy:
    """One client's copying."""

    def __init__(
        self, name: str, layer: SaslConnection, client: socket.socket, plain: socket.socket
    ) -> None:
        self._name = name
        self._layer = layer
        self._client, self._plain = client, plain
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.on_end: Callable[[], None] = _ignore
        client.settimeout(0)
        plain.settimeout(0)
        # What a layer encodes at once is the client's word, at most what we offered.
        self._chunk = max(1, min(layer.max_encoded() or CHUNK, CHUNK))

    def start(self) -> None:
        """Begin to copy in both directions; the end of one ends both."""
        for copy in (self._from_client(), self._from_rpcd()):
            task = asyncio.ensure_future(copy)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def close(self) -> None:
        """End at once."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._client.close()
        self._plain.close()
        self._layer.close()
        self.on_end()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, SaslError):
                log.warning("client %s is closed: SASL: %s", self._name, error)
            elif not isinstance(error, (OSError, TimeoutError)):
                log.error("client %s: its security layer failed", self._name, exc_info=error)
        self.close()

    async def _from_client(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._client, CHUNK):
            if plain := self._layer.decode(data):
                async with asyncio.timeout(SEND_S):
                    await loop.sock_sendall(self._plain, plain)

    async def _from_rpcd(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._plain, self._chunk):
            async with asyncio.timeout(SEND_S):
                await loop.sock_sendall(self._client, self._layer.encode(data))


def _ignore() -> None:
    """Do nothing; the default of `on_end`."""
