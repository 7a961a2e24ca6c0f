"""The socket of one QEMU monitor: what is written to it in which order, and messages read from it.

Owns: the socket, the commands that are not written yet. May not touch: replies, deadlines.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ipc.reset_sockets import take_reset
from supervisor.workers.qemu.qmp.protocol import Decoder, Message, QmpFormatError

CHUNK: Final = 1 << 16


class Outgoing(Protocol):
    """A command that is to be written."""

    @property
    def data(self) -> bytes:
        """It, encoded."""

    @property
    def fd(self) -> int | None:
        """A descriptor that goes with it; it stays the caller's."""

    written: bool  # whether QEMU may have it


class MonitorConnection:
    """The connection to a monitor."""

    def __init__(
        self,
        end: socket.socket,
        on_message: Callable[[Message], None],
        on_failed: Callable[[str], None],
        unread: bytes | None = None,
    ) -> None:
        """Take a connected socket over, and read it unless `unread` is given.

        Args:
            end: connected, if only to the backlog of a QEMU that is starting.
            on_message: called for every message.
            on_failed: called with the reason when QEMU closes the connection or sends no QMP; the
                connection is to be closed then.
            unread: what another process has read; `start_reading` follows.
        """
        end.settimeout(0)
        self.closed = False
        self._socket = end
        self._on_message = on_message
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder()
        self._unsent: deque[Outgoing] = deque()
        self._held = False
        self._out = bytearray()
        self._writing = False
        self._reading = False
        if unread is None:
            self.start_reading()
        else:
            self._decoder.feed(unread)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be written."""
        return not (self._unsent or self._out)

    def start_reading(self) -> None:
        """Read what QEMU sends, unless that is done already."""
        if not self._reading and not self.closed:
            self._reading = True
            self._loop.add_reader(self._socket.fileno(), self._readable)

    def drain(self) -> None:
        """Read what is there already."""
        if not self.closed:
            self._readable()

    def hand_over(self) -> tuple[int, bytes]:
        """Stop reading; return a copy of the descriptor, and what was read of a message."""
        end = os.dup(self._socket.fileno())
        self._reading = False
        self._loop.remove_reader(self._socket.fileno())
        return end, self._decoder.rest

    def send(self, commands: Iterable[Outgoing]) -> None:
        """Write commands, in one write where they fit, after those that wait."""
        self.start_reading()
        self._unsent.extend(commands)
        self._flush()

    def withdraw(self, command: Outgoing) -> None:
        """Forget a command that is not written yet."""
        with contextlib.suppress(ValueError):
            self._unsent.remove(command)

    def hold(self, *, on: bool) -> None:
        """Write no further command, or those that wait."""
        self._held = on
        if not on:
            self._flush()

    def close(self) -> None:
        """Close it; what is not written is lost."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._unsent.clear()

    def _flush(self) -> None:
        """Write commands until the socket is full or they are held."""
        if self.closed or self._writing:
            return
        try:
            while self._out or self._queue_next():
                self._write_once()
        except BlockingIOError:
            self._writing = True
            self._loop.add_writer(self._socket.fileno(), self._writable)
        except OSError as error:
            self._on_failed(f"the monitor cannot be written to: {error}")

    def _queue_next(self) -> bool:
        """Queue the next command for writing, unless they are held."""
        if not self._unsent or self._held:
            return False
        command = self._unsent[0]
        if command.fd is not None:
            # QEMU takes the descriptors of the recvmsg() in which the command begins.
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [command.fd]))
            written = self._socket.sendmsg([command.data], [rights])
            self._out += command.data[written:]
        else:
            self._out += command.data
        command.written = True
        self._unsent.popleft()
        return True

    def _write_once(self) -> None:
        while self._unsent and self._unsent[0].fd is None and not self._held:
            if not self._queue_next():
                break
        if self._out:
            del self._out[: self._socket.send(self._out)]

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        self._writing = False
        self._flush()

    def _readable(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._on_failed(f"the monitor cannot be read: {error}")
            return
        if not data:
            self._on_failed("QEMU closed its monitor")
            return
        try:
            for message in self._decoder.feed(data):
                self._on_message(message)
        except QmpFormatError as error:
            self._on_failed(str(error))
        if not self.closed and take_reset(self._socket):
            self._loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        if not self.closed:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.add_reader(self._socket.fileno(), self._readable)
