"""Watching events through the stock binding, and waiting for a condition without sleeping blindly.

Owns: one thread that runs libvirt's own event loop. May not touch: guests.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from tests.clients.daemon import PATIENCE
from tests.clients.libvirt_binding import libvirt

EVENT_S: Final = 30.0 * PATIENCE


class EventLoop:
    """libvirt's default event loop in a thread of its own; one in a process."""

    _started = False

    @classmethod
    def start(cls) -> None:
        """Start it, once."""
        if cls._started:
            return
        cls._started = True
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=cls._run, daemon=True).start()

    @staticmethod
    def _run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()


class Watch:
    """Every lifecycle event of a connection, in order."""

    def __init__(self, connection: Any, event: int = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE) -> None:
        self._connection = connection
        self._queue: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._number = connection.domainEventRegisterAny(None, event, self._arrived, None)

    def _arrived(self, _connection: Any, domain: Any, *details: Any) -> None:
        self._queue.put((domain.name(), *details[:-1]))

    def expect(self, *event: Any) -> None:
        """Wait for this event next; any other fails."""
        assert self._queue.get(timeout=EVENT_S) == event

    def next(self) -> tuple[Any, ...]:
        """The next event: the domain's name and what the event tells."""
        return self._queue.get(timeout=EVENT_S)

    def wait_for(self, *event: Any) -> None:
        """Wait for this event, whatever comes before it."""
        until = time.monotonic() + EVENT_S
        while self._queue.get(timeout=max(0.0, until - time.monotonic())) != event:
            pass

    def close(self) -> None:
        """Stop watching."""
        self._connection.domainEventDeregisterAny(self._number)


def wait_until(what: str, condition: Callable[[], bool], timeout_s: float = EVENT_S) -> None:
    """Ask again and again until the condition holds: for what no event tells."""
    until = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < until, f"waited {timeout_s:.0f} s for: {what}"
        pause.wait(0.02)
