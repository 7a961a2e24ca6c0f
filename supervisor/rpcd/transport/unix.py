"""One client's socket: bytes and descriptors in, bytes and descriptors out.

Owns: the socket, what is read but not yet taken, what is queued but not yet sent.
May not touch: procedures, the bus. A client that sends garbage, or never reads, is closed here.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from rpc.framing import Frame, FrameDecoder, FrameError

READ_SIZE: Final = 65536  # bytes taken in one turn: a talkative client leaves the others their turn
MAX_DESCRIPTORS: Final = 32  # of one message
ANCILLARY: Final = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
CONGESTED: Final = 1024 * 1024  # unsent bytes from which streams wait
MAX_UNSENT: Final = 64 * 1024 * 1024  # unsent bytes at which the client is given up

log = logging.getLogger(__name__)


class UnixTransport:
    """A connected client socket on the running loop."""

    def __init__(self, client: socket.socket, name: str) -> None:
        """Take the socket over; nothing is read before `start`.

        Args:
            client: connected, any blocking mode.
            name: how log lines call the client.
        """
        client.settimeout(0)
        self.name = name
        self.closed = False
        self._socket = client
        self._fd = client.fileno()
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder()
        self._descriptors: deque[int] = deque()
        self._unsent: deque[bytes | int] = deque()  # an int is a descriptor
        self._unsent_size = 0
        self._reading = False
        self._drained: asyncio.Event = asyncio.Event()
        self._drained.set()
        self._close_when_sent = False
        self._on_frame: Callable[[Frame, list[int]], None]
        self._on_close: Callable[[], None]

    def start(
        self, on_frame: Callable[[Frame, list[int]], None], on_close: Callable[[], None]
    ) -> None:
        """Begin to read. A frame comes with its descriptors, which the callback then owns."""
        self._on_frame = on_frame
        self._on_close = on_close
        self.resume_reading()

    def send(self, data: bytes, descriptors: list[int] | None = None) -> None:
        """Send a message, then its descriptors (which are closed once sent), in order."""
        if self.closed:
            close_all(descriptors or [])
            return
        if not self._unsent and not descriptors:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._queue(data, descriptors or [])

    def close(self) -> None:
        """Close at once; what is unsent is lost."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._socket.close()
        close_all(self._descriptors)
        close_all(item for item in self._unsent if isinstance(item, int))
        self._unsent.clear()
        self._drained.set()
        self._on_close()

    def close_when_sent(self) -> None:
        """Read no more, and close when everything queued is out."""
        self.pause_reading()
        self._close_when_sent = True
        if not self._unsent:
            self._loop.call_soon(self.close)

    async def drained(self) -> None:
        """Wait until the client has taken most of what was queued."""
        await self._drained.wait()

    def pause_reading(self) -> None:
        """Leave further bytes with the kernel, which makes the client wait."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading and not self.closed and not self._close_when_sent:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                READ_SIZE, ANCILLARY, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if ancillary:
            self._take_descriptors(ancillary)
        if not data:
            self.close()
            return
        try:
            if flags & socket.MSG_CTRUNC or len(self._descriptors) > MAX_DESCRIPTORS:
                raise FrameError(f"more than {MAX_DESCRIPTORS} descriptors")
            frames = self._decoder.feed(data)
        except FrameError as error:
            log.warning("client %s is closed: %s", self.name, error)
            self.close()
            return
        for frame in frames:
            if self.closed:
                return
            if frame.descriptors > len(self._descriptors):
                log.warning(
                    "client %s is closed: it announced descriptors and sent none", self.name
                )
                self.close()
                return
            self._on_frame(frame, [self._descriptors.popleft() for _ in range(frame.descriptors)])

    def _take_descriptors(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                self._descriptors.extend(numbers)

    def _queue(self, data: bytes, descriptors: list[int]) -> None:
        if not self._unsent:
            self._loop.add_writer(self._fd, self._writable)
        self._unsent.append(data)
        self._unsent.extend(descriptors)
        self._unsent_size += len(data)
        if self._unsent_size > MAX_UNSENT:
            log.warning("client %s is closed: it does not read what it asked for", self.name)
            self.close()
        elif self._unsent_size > CONGESTED:
            self._drained.clear()

    def _writable(self) -> None:
        try:
            while self._unsent:
                self._send_first()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._unsent_size <= CONGESTED // 2:
            self._drained.set()
        if not self._unsent:
            self._loop.remove_writer(self._fd)
            if self._close_when_sent:
                self.close()

    def _send_first(self) -> None:
        item = self._unsent[0]
        if isinstance(item, int):
            socket.send_fds(self._socket, [b"\0"], [item])
            os.close(item)
            self._unsent.popleft()
            return
        sent = self._socket.send(item)
        self._unsent_size -= sent
        if sent == len(item):
            self._unsent.popleft()
        else:
            self._unsent[0] = item[sent:]


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors that nobody takes."""
    for fd in descriptors:
        os.close(fd)
