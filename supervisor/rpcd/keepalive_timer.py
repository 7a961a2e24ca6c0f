"""Keepalive of one client: PINGs it when it is silent, closes it when it does not answer.

Owns: the timer. The rules are `rpc.keepalive`'s.
"""

from __future__ import annotations

import asyncio
import logging

from rpc import keepalive
from rpc.keepalive import Action, Keepalive
from supervisor.rpcd.connection import Connection

log = logging.getLogger(__name__)


class KeepaliveTimer:
    """Runs until it is stopped."""

    def __init__(self, connection: Connection, interval_s: int, count: int) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._state = Keepalive(interval_s, count, self._loop.time())
        self._timer = self._loop.call_later(interval_s, self._check)

    def received(self) -> None:
        """Record that a message came from the client."""
        self._state.received(self._loop.time())

    def stop(self) -> None:
        """Stop the timer: the connection is closed."""
        self._timer.cancel()

    def _check(self) -> None:
        action, wait_s = self._state.check(self._loop.time())
        if action is Action.CLOSE:
            log.info("client %s is closed: it answers no PING", self._connection.name)
            self._connection.transport.close()
            return
        if action is Action.PING:
            self._connection.send(keepalive.message(keepalive.PING))
        self._timer = self._loop.call_later(wait_s, self._check)
