"""A switch's end of a vhost-user interface: it agrees to all that QEMU asks, and moves no packet.

Owns: its socket. Runs in a thread.
Source: QEMU, docs/interop/vhost-user.rst.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Final

GET_FEATURES, GET_PROTOCOL_FEATURES, GET_VRING_BASE, GET_QUEUE_NUM = 1, 15, 11, 17
#: VIRTIO_F_VERSION_1 and VHOST_USER_F_PROTOCOL_FEATURES; of those, several queues.
ANSWERS: Final = {GET_FEATURES: 1 << 32 | 1 << 30, GET_PROTOCOL_FEATURES: 1, GET_QUEUE_NUM: 4}
HEADER: Final = struct.Struct("<III")
REPLY: Final = 1 | 4  # version 1, a reply


class Switch:
    """Listens on a path until it is closed; counts who came."""

    def __init__(self, path: Path) -> None:
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        os.chmod(path, 0o666)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end = self._listener.accept()[0]
                self.connections += 1
                threading.Thread(target=_serve, args=(end,), daemon=True).start()


def _serve(end: socket.socket) -> None:
    with end, contextlib.suppress(OSError):
        while header := _receive(end, HEADER.size):
            request, _, size = HEADER.unpack(header)
            payload = _receive(end, size)
            if request == GET_VRING_BASE:
                end.sendall(HEADER.pack(request, REPLY, 8) + payload[:4] + bytes(4))
            elif request in ANSWERS:
                end.sendall(HEADER.pack(request, REPLY, 8) + struct.pack("<Q", ANSWERS[request]))


def _receive(end: socket.socket, size: int) -> bytes:
    """Receive so many bytes, and drop the descriptors that come with them; b"" at the end."""
    data = b""
    while len(data) < size:
        part, passed, _, _ = socket.recv_fds(end, size - len(data), 16)
        for fd in passed:
            os.close(fd)
        if not part:
            return b""
        data += part
    return data
