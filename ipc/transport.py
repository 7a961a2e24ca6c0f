"""Transport: one end of a Unix socket pair on the loop, for bytes and descriptors.

Owns: the socket, the send queue and the events held back. May not touch: what the bytes mean.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from ipc.descriptor import Descriptor
from ipc.errors import PeerGone, QueueFull
from ipc.frames import MAX_DESCRIPTORS
from ipc.held_events import HeldEvents
from ipc.reset_sockets import take_reset

READ_SIZE: Final = 64 * 1024  # more makes malloc map memory for every read (15 us)
ANCILLARY: Final = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
MAX_UNSENT: Final = 64 * 1024 * 1024  # bytes
MAX_QUEUED: Final = 65536  # frames
MAX_HELD: Final = 64 * 1024  # bytes of events
URGENT_MARGIN: Final = 8 * 1024 * 1024  # bytes beyond, for replies and cancellations


class Transport:
    """A connected stream socket."""

    def __init__(
        self,
        sock: socket.socket,
        on_data: Callable[[bytes, list[int]], None],
        on_lost: Callable[[], None],
        held_events: HeldEvents,
    ) -> None:
        """Take the socket over and begin to read.

        Args:
            sock: one end of a socket pair.
            on_data: called with bytes and the descriptors that came with them, which it owns.
            on_lost: called once when the socket is closed, by either side.
            held_events: those of the process's links.
        """
        sock.settimeout(0)
        self.closed = False
        self._socket = sock
        self._fd = sock.fileno()
        self._on_data = on_data
        self._on_lost = on_lost
        self._unsent: deque[tuple[memoryview, list[Descriptor]]] = deque()
        self._unsent_size = 0
        self._held: list[bytes] = []  # empty while there is something unsent
        self._held_size = 0
        self._held_events = held_events
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def send(self, data: bytes, descriptors: list[Descriptor], *, urgent: bool = False) -> None:
        """Send what the socket takes now and queue the rest.

        Args:
            data: a whole frame.
            descriptors: sent with the frame's first byte, then closed.
            urgent: may exceed the limit by `URGENT_MARGIN`.

        Raises:
            PeerGone: the link is closed; nothing was sent.
            QueueFull: too much is queued already; nothing was sent.
        """
        if self.closed:
            raise PeerGone("the link is closed")
        sent = 0
        if self._held:
            self._held_events.discard(self)
            data = b"".join((*self._held, data))
            self._forget_held()
        self._held_events.send()
        if not self._unsent:
            try:
                sent = self._send(data, descriptors)
            except BlockingIOError:
                pass
            except OSError as error:
                self._loop.call_soon(self.close)
                raise PeerGone(f"the link broke: {error}") from error
            if sent == len(data):
                return
        elif self._is_full(len(data), MAX_UNSENT + urgent * URGENT_MARGIN):
            raise QueueFull(f"{self._unsent_size} bytes are queued for a peer that does not read")
        self._queue(memoryview(data)[sent:], [] if sent else descriptors)

    def send_event(self, data: bytes) -> None:
        """Send an event soon (`HeldEvents`).

        Raises:
            PeerGone, QueueFull: as `send`.
        """
        if self._unsent or self._held_size + len(data) > MAX_HELD:
            self.send(data, [])
            return
        if self.closed:
            raise PeerGone("the link is closed")
        self._held.append(data)
        self._held_size += len(data)
        self._held_events.add(self)

    def send_held(self) -> None:
        """Send the events held back."""
        if self._held:
            with contextlib.suppress(PeerGone):  # `on_lost` follows
                self.send(b"", [])

    def close(self) -> None:
        """Close the socket and call `on_lost`; nothing the second time."""
        if self.closed:
            return
        self.send_held()
        self.closed = True
        self._held_events.discard(self)
        self._forget_held()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._socket.close()
        for _, descriptors in self._unsent:
            for descriptor in descriptors:
                descriptor.close()
        self._unsent.clear()
        self._on_lost()

    def _send(self, data: bytes | memoryview, descriptors: list[Descriptor]) -> int:
        if not descriptors:
            return self._socket.send(data)
        numbers = array.array("i", [descriptor.fileno() for descriptor in descriptors])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]
        sent = self._socket.sendmsg([data], rights)
        for descriptor in descriptors:
            descriptor.close()
        return sent

    def _forget_held(self) -> None:
        self._held.clear()
        self._held_size = 0

    def _is_full(self, size: int, limit: int) -> bool:
        return self._unsent_size + size > limit or len(self._unsent) >= MAX_QUEUED

    def _queue(self, data: memoryview, descriptors: list[Descriptor]) -> None:
        if not self._unsent:
            self._loop.add_writer(self._fd, self._writable)
        queued = [Descriptor(descriptor.take()) for descriptor in descriptors]
        self._unsent.append((data, queued))
        self._unsent_size += len(data)

    def _writable(self) -> None:
        try:
            while self._unsent:
                data, descriptors = self._unsent[0]
                sent = self._send(data, descriptors)
                self._unsent_size -= sent
                if sent < len(data):
                    self._unsent[0] = (data[sent:], [])
                    return
                self._unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._loop.remove_writer(self._fd)

    def _read_again(self) -> None:
        if not self.closed:
            self._loop.remove_reader(self._fd)
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                READ_SIZE, ANCILLARY, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        numbers = received_descriptors(ancillary) if ancillary else []
        if data:
            self._on_data(data, numbers)
            if not self.closed and take_reset(self._socket):
                self._loop.call_soon(self._read_again)
            return
        for number in numbers:
            os.close(number)
        self.close()


def received_descriptors(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors among the control messages of recvmsg(2); the caller owns them."""
    numbers: list[int] = []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            rights = array.array("i")
            rights.frombytes(content[: len(content) - len(content) % rights.itemsize])
            numbers.extend(rights)
    return numbers
