"""Relays bytes between a character device of the guest and a client's stream.

Owns: both descriptors. May touch: nothing else.

The device's own descriptor is never passed to a client: it could not be revoked when another
client opens the console with VIR_DOMAIN_CONSOLE_FORCE.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

CHUNK: Final = 1 << 16
MAX_BUFFERED: Final = 1 << 18  # bytes that one side has sent and the other has not read


class Relay:
    """A device and a stream; whatever is read from one is written to the other."""

    def __init__(self, device: int, on_end: Callable[[Relay], None]) -> None:
        """Take over a device's descriptor, and make a stream for the client."""
        worker_end, client_end = socket.socketpair()
        worker_end.setblocking(False)  # noqa: FBT003  (the standard library's own signature)
        os.set_blocking(device, False)
        self._stream = client_end
        self._on_end = on_end
        end = worker_end.detach()
        self._directions = (
            _Direction(device, end, self.close, drain=True),
            _Direction(end, device, self.close),
        )
        self._fds = (device, end)
        self._closed = False
        for direction in self._directions:
            direction.start()

    def take_stream(self) -> int:
        """Return the client's end of the stream, which the caller owns."""
        return self._stream.detach()

    @property
    def closed(self) -> bool:
        """Whether the relay has ended."""
        return self._closed

    def close(self) -> None:
        """End the relay; both sides see end of file."""
        if self._closed:
            return
        self._closed = True
        for direction in self._directions:
            direction.stop()
        self._stream.close()
        for fd in self._fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._on_end(self)


class _Direction:
    """One direction: reading pauses while the other side does not keep up."""

    def __init__(
        self, source: int, sink: int, on_end: Callable[[], None], *, drain: bool = False
    ) -> None:
        """Copy from `source` to `sink`.

        Args:
            source: read until its end of file.
            sink: written.
            on_end: called when the source has ended, or the sink takes no more.
            drain: at the end of the source, wait first until the sink has taken what was read.
        """
        self._source, self._sink = source, sink
        self._loop = asyncio.get_running_loop()
        self._on_end = on_end
        self._drain = drain
        self._buffer = bytearray()
        self._reading = self._writing = self._ended = False

    def start(self) -> None:
        if not self._reading and not self._ended:
            self._loop.add_reader(self._source, self._readable)
            self._reading = True

    def stop(self) -> None:
        self._pause()
        if self._writing:
            self._loop.remove_writer(self._sink)
            self._writing = False

    def _pause(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._source)
            self._reading = False

    def _readable(self) -> None:
        """Read all that is there: when QEMU exits, the kernel drops what is left in its pty.

        One read of a pty gives 4095 bytes at most.
        """
        while len(self._buffer) <= MAX_BUFFERED:
            try:
                data = os.read(self._source, CHUNK)
            except BlockingIOError:
                break
            except OSError:  # a pty's master reads EIO once no process has its slave open
                data = b""
            if not data:
                self._ended = True
                break
            self._buffer += data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._buffer:
                del self._buffer[: os.write(self._sink, self._buffer)]
        except BlockingIOError:
            if not self._writing:
                self._loop.add_writer(self._sink, self._flush)
                self._writing = True
            if self._ended and not self._drain:
                self._on_end()
            elif self._ended or len(self._buffer) > MAX_BUFFERED:
                self._pause()
            return
        except OSError:
            self._on_end()
            return
        if self._writing:
            self._loop.remove_writer(self._sink)
            self._writing = False
        if self._ended:
            self._on_end()
            return
        self.start()
