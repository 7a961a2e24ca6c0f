"""A client's connected socket: bytes in and out, and on a Unix socket descriptors.

Owns: the socket, descriptors received and not yet taken, what is queued and not yet sent.
May not touch: messages, the bus. A client that never reads is closed here.
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

from ipc.reset_sockets import take_reset
from supervisor.messages.calls import Identity

# Bytes read in one turn of the loop, so that other clients get theirs: 4 KiB are 146 small calls.
READ_SIZE: Final = 4096
MAX_READ: Final = 65536  # of a message under way
MAX_DESCRIPTORS: Final = 32  # of one message (virNetMessage)
#: Plain integers: Python's names for them are flags, which are slow to compute with.
CLOEXEC: Final = int(socket.MSG_CMSG_CLOEXEC)
TRUNCATED: Final = int(socket.MSG_CTRUNC)
ANCILLARY: Final = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
CONGESTED: Final = 512 * 1024  # unsent bytes at which streams and calls pause
MAX_UNSENT: Final = 64 * 1024 * 1024  # unsent bytes at which the client is closed

log = logging.getLogger(__name__)


class SocketTransport:
    """A connected client socket on the running loop (`Transport`)."""

    cipher_bits = 0

    def __init__(
        self,
        client: socket.socket,
        identity: Identity,
        name: str,
        *,
        is_secure: bool,
        addresses: tuple[str, str] = ("", ""),
    ) -> None:
        """Take the socket over; nothing is read before `start`.

        Args:
            client: connected, any blocking mode.
            identity: what the kernel knows of the peer.
            name: of the client, for log lines.
            is_secure: whether nobody on the way can read along.
            addresses: ours and the client's, "ADDRESS;PORT".
        """
        client.settimeout(0)
        self.identity = identity
        self.name = name
        self.is_secure = is_secure
        self.addresses = addresses
        self.passes_descriptors = client.family == socket.AF_UNIX
        self.closed = False
        self.descriptors: deque[int] = deque()
        self._socket = client
        self._fd = client.fileno()
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[bytes | int] = deque()  # an int is a descriptor
        self.unsent = 0  # bytes of them
        self._read_size = READ_SIZE
        self._reading = False
        self.is_congested = False
        self._drained: asyncio.Event = asyncio.Event()
        self._drained.set()
        self._has_sent = False  # since the last read: the peer was there then
        self._close_when_sent = False
        self._on_data: Callable[[bytes], None]
        self._on_close: Callable[[], None] = _ignore  # until `start`

    def start(self, on_data: Callable[[bytes], None], on_close: Callable[[], None]) -> None:
        """Begin to read; descriptors that came with the bytes are in `descriptors` already."""
        self._on_data = on_data
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
                self._has_sent = True
                return
            data = data[sent:]
        self._queue(data, descriptors or [])

    def close(self) -> None:
        """Close at once; what is unsent is lost."""
        if self.closed:
            return
        self.closed = True
        self._reading = False
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._socket.close()
        close_all(self.descriptors)
        close_all(item for item in self._unsent if isinstance(item, int))
        self._unsent.clear()
        self.unsent = 0
        self._set_congested(on=False)
        self._on_close()

    def detach(self) -> socket.socket:
        """Give the socket away; the transport is closed, and `on_close` is not called.

        Raises:
            ValueError: bytes are not sent yet, or it is closed.
        """
        if self._unsent or self.closed:
            raise ValueError("the client has not taken what was sent")
        given = socket.socket(fileno=os.dup(self._fd))
        self._on_close = _ignore
        self.close()
        return given

    def close_when_sent(self) -> None:
        """Read no more, and close when everything queued is sent."""
        self.pause_reading()
        self._close_when_sent = True
        if not self._unsent:
            self._loop.call_soon(self.close)

    def expect(self, size: int) -> None:
        """Read so many bytes at once from now on, for the message under way lacks them."""
        self._read_size = READ_SIZE if size <= READ_SIZE else min(size, MAX_READ)

    async def drained(self) -> None:
        """Wait until the client has read most of what was queued."""
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
            data = self._receive()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        self._has_sent = False
        self._on_data(data)
        if self._reading and not self._has_sent and take_reset(self._socket):
            self._loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        if self._reading:
            self.pause_reading()
            self.resume_reading()

    def _receive(self) -> bytes:
        """Read bytes and descriptors; b"": the client is to be closed."""
        if not self.passes_descriptors:
            return self._socket.recv(self._read_size)
        data, ancillary, flags, _ = self._socket.recvmsg(self._read_size, ANCILLARY, CLOEXEC)
        if ancillary:
            self._take_descriptors(ancillary)
        # MSG_CTRUNC: the kernel dropped descriptors that did not fit, so the order is lost.
        if flags & TRUNCATED or len(self.descriptors) > MAX_DESCRIPTORS:
            log.warning("client %s is closed: more than %d descriptors", self.name, MAX_DESCRIPTORS)
            return b""
        return data

    def _take_descriptors(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                self.descriptors.extend(numbers)

    def _queue(self, data: bytes, descriptors: list[int]) -> None:
        if not self._unsent:
            self._loop.add_writer(self._fd, self._writable)
        self._unsent.append(data)
        self._unsent.extend(descriptors)
        self.unsent += len(data)
        if self.unsent > MAX_UNSENT:
            log.warning("client %s is closed: it does not read its replies", self.name)
            self.close()
        elif self.unsent > CONGESTED:
            self._set_congested(on=True)

    def _set_congested(self, *, on: bool) -> None:
        self.is_congested = on
        if on:
            self._drained.clear()
        else:
            self._drained.set()

    def _writable(self) -> None:
        try:
            while self._unsent:
                self._send_first()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self.unsent <= CONGESTED // 2:
            self._set_congested(on=False)
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
        self.unsent -= sent
        if sent == len(item):
            self._unsent.popleft()
        else:
            self._unsent[0] = item[sent:]


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors that were not taken."""
    for fd in descriptors:
        os.close(fd)


def _ignore() -> None:
    """Do nothing; the default of `_on_close`, as a client may close before it is served."""
