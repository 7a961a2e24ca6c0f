"""Carrying bytes between a guest's device and a client's stream, until either ends or we do.

Owns: both descriptors. May touch: nothing else.

A device is never handed to a client itself: what was handed over could not be taken back when
another client forces its way in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

CHUNK: Final = 1 << 16
MAX_BUFFERED: Final = 1 << 18  # bytes that one side has sent and the other has not taken


class Relay:
    """Two descriptors, joined."""

    def __init__(self, device: int, on_end: Callable[[Relay], None]) -> None:
        """Join a device, whose descriptor is ours from now on, with a new stream."""
        worker_end, client_end = socket.socketpair()
        worker_end.setblocking(False)  # noqa: FBT003  (the standard library's own signature)
        os.set_blocking(device, False)
        self._stream = client_end
        self._on_end = on_end
        end = worker_end.detach()
        self._directions = (
            _Direction(device, end, self.close),
            _Direction(end, device, self.close),
        )
        self._fds = (device, end)
        self._closed = False
        for direction in self._directions:
            direction.start()

    def take_stream(self) -> int:
        """The client's end; the caller's from now on."""
        return self._stream.detach()

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._closed

    def close(self) -> None:
        """End it; both sides see the end."""
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
    """One direction."""

    def __init__(self, source: int, sink: int, on_end: Callable[[], None]) -> None:
        self._source, self._sink = source, sink
        self._loop = asyncio.get_running_loop()
        self._on_end = on_end
        self._buffer = bytearray()
        self._reading = self._writing = False

    def start(self) -> None:
        if not self._reading:
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
        try:
            data = os.read(self._source, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # the other side of a terminal has gone
            data = b""
        if not data:
            self._on_end()
            return
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
            if len(self._buffer) > MAX_BUFFERED:
                self._pause()
            return
        except OSError:
            self._on_end()
            return
        if self._writing:
            self._loop.remove_writer(self._sink)
            self._writing = False
        self.start()
