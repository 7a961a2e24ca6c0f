"""TCP ports for VNC and SPICE: two workers never choose the same one.

Owns: the choice. May touch: one lock file a port, and a socket for a moment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

WILDCARDS: Final = ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0"))


class DisplayPorts:
    """Ports reserved for a start: locked until QEMU listens on them itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[int, int] = {}

    def __enter__(self) -> DisplayPorts:
        """Reserve ports within the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the locks: QEMU listens by now, or has failed."""
        for fd in self._locks.values():
            os.close(fd)
        self._locks.clear()

    def reserve(self, candidates: Sequence[int], purpose: str) -> int:
        """Reserve the first free port; `purpose` is for the message.

        Raises:
            VirError: INTERNAL_ERROR: none is free.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for port in candidates:
            if port not in self._locks and self._lock(port):
                if is_free(port):
                    return port
                os.close(self._locks.pop(port))
        first, last = (candidates[0], candidates[-1]) if candidates else (0, 0)
        detail = f"Unable to find an unused port in range '{purpose}' ({first}-{last})"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)

    def _lock(self, port: int) -> bool:
        fd = os.open(self._folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._locks[port] = fd
        return True


def is_free(port: int) -> bool:
    """Return whether no process listens on the port, on any address."""
    return all(_can_bind(family, address, port) for family, address in WILDCARDS)


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    with _socket(family) as sockets:
        for probe in sockets:
            # A connection in TIME_WAIT does not keep QEMU from listening, either.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # which would claim the port of IPv4, too
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                return error.errno != errno.EADDRINUSE
    return True


@contextlib.contextmanager
def _socket(family: socket.AddressFamily) -> Iterator[list[socket.socket]]:
    """Make a socket; none where the host has no IPv6."""
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        yield []
        return
    with probe:
        yield [probe]
