"""Restart policy: when an exited process is started again. Pure: exit times in, decisions out.

Owns: restart policies, back-off, the burst limit, the degraded state.
May not touch: processes, clocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class RestartOn(StrEnum):
    """After which exits a process is started again."""

    ALWAYS = "always"
    ON_CRASH = "on-crash"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Policy:
    """When and how fast the processes of a role are restarted."""

    when: RestartOn
    first_s: float = 0.0  # pause before the first restart; each further one in the window doubles
    longest_s: float = 5.0
    burst: int = 8  # so many restarts within the window make the process degraded
    window_s: float = 30.0
    degraded_s: float = 30.0  # pause before each further restart of a degraded process


STEP_S: Final = 0.1  # the second pause, when the first is 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about an exited process."""

    restart: bool
    pause_s: float = 0.0
    degraded: bool = False


@dataclass(slots=True)
class RestartHistory:
    """The recent exits of one process."""

    policy: Policy
    restarts: int = 0
    _recent: deque[float] = field(default_factory=deque)

    def ended(self, now: float, *, crashed: bool) -> Decision:
        """Decide what follows an exit at `now` (seconds on any monotonic clock)."""
        when = self.policy.when
        if when is RestartOn.NEVER or (when is RestartOn.ON_CRASH and not crashed):
            return Decision(restart=False)
        while self._recent and now - self._recent[0] > self.policy.window_s:
            self._recent.popleft()
        self._recent.append(now)
        self.restarts += 1
        count = len(self._recent)
        if count > self.policy.burst:
            return Decision(restart=True, pause_s=self.policy.degraded_s, degraded=True)
        return Decision(restart=True, pause_s=self._pause(count))

    def _pause(self, count: int) -> float:
        if count == 1:
            return self.policy.first_s
        doubled = max(self.policy.first_s, STEP_S) * 2.0 ** (count - 2)
        return min(doubled, self.policy.longest_s)
