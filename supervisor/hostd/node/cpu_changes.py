"""CpuChanges: tells when a CPU of the host comes or goes, by the kernel's uevents.

Owns: a netlink socket. May touch: nothing else; a uevent's content is not looked at.
Source: Linux, lib/kobject_uevent.c; Documentation/networking/filter.rst; netlink(7).
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

NETLINK_KOBJECT_UEVENT: Final = 15
KERNEL_GROUP: Final = 1  # of the kernel's own uevents; udev's have another
SO_ATTACH_FILTER: Final = 26
MESSAGE_BYTES: Final = 4096
#: Only there the kernel sends uevents of CPUs to every network namespace.
WHOLE_HOST: Final = ["0", "0", "4294967295"]
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS; BPF_JMP | BPF_JEQ; BPF_RET
#: Messages begin with "online@/devices/system/cpu/…", "offline@…", "add@…", "remove@…"; devices of
#: other kinds come and go all the time, and are not to wake this process.
FILTER: Final = (
    (LOAD, 0, 0, 0),
    (EQUAL, 8, 0, int.from_bytes(b"onli", "big")),
    (EQUAL, 7, 0, int.from_bytes(b"offl", "big")),
    (EQUAL, 0, 2, int.from_bytes(b"add@", "big")),
    (LOAD, 0, 0, len("add@/devices/system/")),
    (EQUAL, 4, 5, int.from_bytes(b"cpu/", "big")),
    (EQUAL, 0, 4, int.from_bytes(b"remo", "big")),
    (LOAD, 0, 0, len("remove@/devices/system/")),
    (EQUAL, 1, 2, int.from_bytes(b"cpu/", "big")),
    (RETURN, 0, 0, 0),
    (RETURN, 0, 0, MESSAGE_BYTES),
    (RETURN, 0, 0, 0),
)

log = logging.getLogger(__name__)


class CpuChanges:
    """The changes of the host's CPUs."""

    def __init__(
        self, on_change: Callable[[], None], connect: Callable[[], socket.socket] | None = None
    ) -> None:
        """Watch nothing yet.

        Args:
            on_change: called after a change.
            connect: opens the socket; None: `open_socket`.
        """
        self._on_change = on_change
        self._connect = connect or open_socket
        self._socket: socket.socket | None = None

    @property
    def is_watching(self) -> bool:
        """Whether no change is missed."""
        return self._socket is not None

    def watch(self, uid_map: Path = Path("/proc/self/uid_map")) -> None:
        """Begin to watch, where the kernel tells this process; elsewhere nothing is done."""
        try:
            if uid_map.read_text().split() != WHOLE_HOST:
                return
            self._socket = self._connect()
        except OSError as error:
            log.info("CPUs that come or go are not noticed at once: %s", error)
            return
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """Watch no longer."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _readable(self) -> None:
        assert self._socket is not None, "the reader goes with the socket"
        try:
            self._socket.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:  # ENOBUFS: messages were lost, this one among them perhaps
            log.info("uevents were lost: %s", error)
        self._on_change()


def open_socket() -> socket.socket:
    """Open the socket.

    Raises:
        OSError: the kernel has none.
    """
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    opened = socket.socket(socket.AF_NETLINK, kind, NETLINK_KOBJECT_UEVENT)
    try:
        attach_filter(opened)
        opened.bind((0, KERNEL_GROUP))
    except BaseException:
        opened.close()
        raise
    return opened


def attach_filter(opened: socket.socket) -> None:
    """Let only the messages about CPUs come to a socket.

    Raises:
        OSError: the kernel refuses.
    """
    code = b"".join(struct.pack("HBBI", *step) for step in FILTER)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HP", len(FILTER), ctypes.addressof(buffer))
    opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
