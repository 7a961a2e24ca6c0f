"""The keepalive program: when to PING a silent peer, and when to close the connection. Sans I/O.

Owns: the program's two messages and its counting rules (virKeepAlive).
May not touch: sockets, clocks; the caller passes the time.
Source: protocol/features_9_0.md, "keepalive".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from rpc import framing
from rpc.framing import Header, MessageType, Status

PROGRAM: Final = 0x6B656570
VERSION: Final = 1
PING: Final = 1
PONG: Final = 2


class Action(Enum):
    """What a side of the connection does now."""

    WAIT = auto()
    PING = auto()
    CLOSE = auto()


@dataclass(slots=True)
class Keepalive:
    """One peer's silence; starts to count once the peer is known to answer PINGs."""

    interval_s: float  # silence after which a PING is due; 0 or less: never
    count: int  # unanswered PINGs after which the peer counts as dead
    last_received: float
    unanswered: int = 0

    def received(self, now: float) -> None:
        """Record that a message of any kind came from the peer."""
        self.last_received = now
        self.unanswered = 0

    def check(self, now: float) -> tuple[Action, float]:
        """Decide what to do now, and in how many seconds to check again."""
        due = self.last_received + self.interval_s * (self.unanswered + 1)
        if now < due:
            return Action.WAIT, due - now
        if self.unanswered >= self.count:
            return Action.CLOSE, self.interval_s
        self.unanswered += 1
        return Action.PING, self.interval_s


def message(procedure: int) -> bytes:
    """Encode a PING or PONG: no payload, serial 0, for nothing is matched with an answer."""
    header = Header(PROGRAM, VERSION, procedure, MessageType.MESSAGE, 0, Status.OK)
    return framing.encode(header, b"")


def is_ping(header: Header) -> bool:
    """Return whether a message is a PING; libvirt replies even before a query for feature 10."""
    return header.program == PROGRAM and header.procedure == PING
