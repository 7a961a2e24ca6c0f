"""When to ask a silent client for a sign of life, and when to give it up. Pure.

Owns: the counting rules of the keepalive program (protocol/features_9_0.md, "daemon's own PINGs").
May not touch: sockets, clocks; the caller passes the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Verdict(Enum):
    """What to do now."""

    WAIT = auto()
    PING = auto()
    GIVE_UP = auto()


@dataclass(slots=True)
class Keepalive:
    """One client's silence; starts counting when the client says that it answers PINGs."""

    interval_s: float  # silence after which a PING is due; 0 or less: never
    count: int  # unanswered PINGs after which the client is gone
    last_heard: float
    unanswered: int = 0

    def heard(self, now: float) -> None:
        """Anything came from the client."""
        self.last_heard = now
        self.unanswered = 0

    def check(self, now: float) -> tuple[Verdict, float]:
        """Say what to do now, and in how many seconds to ask again."""
        due = self.last_heard + self.interval_s * (self.unanswered + 1)
        if now < due:
            return Verdict.WAIT, due - now
        if self.unanswered >= self.count:
            return Verdict.GIVE_UP, self.interval_s
        self.unanswered += 1
        return Verdict.PING, self.interval_s
