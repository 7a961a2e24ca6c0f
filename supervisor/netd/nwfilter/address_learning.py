"""Learns a guest's IP address from the packets on its tap.

Owns: one packet socket a tap that is listened on, and the task that reads it.
May touch: the socket. May not touch: rules; `on_event` decides about them.

The kernel passes on only ARP and IPv4 (or only DHCP), at most `BURST` frames are read in a row, and
excess frames are dropped in the socket's buffer: a guest cannot keep netd busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from supervisor.netd.nwfilter.packets import (
    AddressEvent,
    AddressSeen,
    LeaseGranted,
    LeaseReleased,
    read_frame,
)

ETH_P_ALL: Final = 3
PACKET_OUTGOING: Final = 4  # sll_pkttype of frames that the host sends; a guest cannot set it
SO_ATTACH_FILTER: Final = 26
BUFFER: Final = 64 * 1024  # bytes of frames that wait
BURST: Final = 32
PAUSE_S: Final = 0.05  # after a burst
FRAME: Final = 2048  # bytes read of one

log = logging.getLogger(__name__)


class LearningMode(StrEnum):
    """CTRL_IP_LEARNING: the packets that addresses are learned from."""

    ANY = "any"
    DHCP = "dhcp"
    NONE = "none"


# Classic BPF, (code, jump if true, jump if false, value): frames that may carry an address.
_ARP_OR_IPV4: Final = (
    (0x28, 0, 0, 12),  # the EtherType
    (0x15, 3, 0, 0x0806),
    (0x15, 2, 0, 0x0800),
    (0x15, 1, 0, 0x8100),
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, FRAME),  # take
)
_DHCP: Final = (
    (0x28, 0, 0, 12),
    (0x15, 0, 8, 0x0800),
    (0x30, 0, 0, 23),  # the protocol of IPv4
    (0x15, 0, 6, 17),
    (0x28, 0, 0, 20),  # flags and fragment's offset
    (0x45, 4, 0, 0x1FFF),
    (0xB1, 0, 0, 14),  # X: the header's length
    (0x48, 0, 0, 16),  # the port it is sent to
    (0x15, 2, 0, 67),
    (0x15, 1, 0, 68),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, FRAME),
)


@dataclass(frozen=True, slots=True)
class LearnedAddress:
    """An address that expires."""

    address: str
    expires: float  # seconds of the host's clock


class Listener:
    """Listens on one tap until it is closed or an address is learned."""

    def __init__(
        self,
        tap: str,
        mac: str,
        mode: LearningMode,
        on_event: Callable[[str, AddressEvent], Awaitable[bool]],
        lease: LearnedAddress | None = None,
    ) -> None:
        """Create the listener; `start` opens its socket.

        Args:
            tap: the device.
            mac: the guest's.
            mode: ANY ends with the first address, DHCP goes on for renewals.
            on_event: called with the tap and the event; returns whether learning may end.
            lease: known already; its end is reported, too.
        """
        self._lease = lease
        self.tap = tap
        self.mode = mode
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._on_event = on_event
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open the packet socket and start reading it.

        Raises:
            OSError: the tap is not there, or the right is missing.
        """
        listening = open_socket(self.tap, self.mode)
        self._task = asyncio.create_task(self._read(listening), name=f"listen:{self.tap}")

    def matches(self, mac: str, mode: LearningMode) -> bool:
        """Return whether the listener runs for this MAC address and mode."""
        running = self._task is not None and not self._task.done()
        return running and mode is self.mode and bytes.fromhex(mac.replace(":", "")) == self._mac

    def close(self) -> None:
        """Stop listening."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _read(self, listening: socket.socket) -> None:
        with listening:
            while True:
                lease = self._lease
                left = max(0.0, lease.expires - time.time()) if lease is not None else None
                event: AddressEvent | None = None
                try:
                    async with asyncio.timeout(left):
                        event = await self._next(listening)
                except TimeoutError:
                    if lease is None:
                        continue
                    event, self._lease = LeaseReleased(lease.address), None
                except OSError as error:
                    log.info("nothing more is learned on '%s': %s", self.tap, error)
                    return
                if isinstance(event, LeaseGranted):
                    self._lease = lease_from(event, time.time())
                done = await self._on_event(self.tap, event)
                if done and self.mode is LearningMode.ANY:
                    return

    async def _next(self, listening: socket.socket) -> AddressEvent:
        """Read until a packet yields an event."""
        while True:
            await _readable(listening)
            for _ in range(BURST):
                try:
                    frame, sender = listening.recvfrom(FRAME)
                except BlockingIOError:
                    break
                event = read_frame(frame, self._mac, to_guest=sender[2] == PACKET_OUTGOING)
                if event is not None and self._is_relevant(event):
                    return event
            else:
                await asyncio.sleep(PAUSE_S)

    def _is_relevant(self, event: AddressEvent) -> bool:
        if self.mode is LearningMode.DHCP:
            return not isinstance(event, AddressSeen)
        return not isinstance(event, LeaseReleased)


def lease_from(event: AddressEvent, now: float) -> LearnedAddress | None:
    """Return the lease of an event that has an end. Pure."""
    if isinstance(event, LeaseGranted) and event.seconds is not None:
        return LearnedAddress(event.address, now + event.seconds)
    return None


async def _readable(listening: socket.socket) -> None:
    """Wait until a packet can be read."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(listening, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(listening)


def open_socket(tap: str, mode: LearningMode) -> socket.socket:
    """Open a packet socket on a tap with the BPF filter of the mode.

    Raises:
        OSError: the tap is not there, or the right is missing.
    """
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    with contextlib.ExitStack() as undo:
        undo.callback(opened.close)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        _attach(opened, _DHCP if mode is LearningMode.DHCP else _ARP_OR_IPV4)
        opened.bind((tap, ETH_P_ALL))
        undo.pop_all()
    return opened


def _attach(opened: socket.socket, program: tuple[tuple[int, int, int, int], ...]) -> None:
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HP", len(program), ctypes.addressof(buffer))
    opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
