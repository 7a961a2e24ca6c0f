"""What QEMU's words for a guest that stands still tell of it.

Owns: the table. May touch: nothing.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainState as S
from supervisor.workers.state_table import Trigger

#: QEMU's words for a guest that stands still (`query-status`), by what they tell of it.
RUN_STATES: Final = {
    "running": Trigger.RESUMED,
    "paused": Trigger.STOPPED,
    "io-error": Trigger.STOPPED_BY_ERROR,
    "watchdog": Trigger.STOPPED_BY_WATCHDOG,
    "guest-panicked": Trigger.PANICKED,
    "shutdown": Trigger.POWERED_OFF,
    "suspended": Trigger.SUSPENDED_TO_MEMORY,
    "internal-error": Trigger.STOPPED,
    "prelaunch": Trigger.STOPPED,
    "debug": Trigger.STOPPED,
}
#: The states in which each of these words is no news.
EXPECTED: Final = {
    "running": (S.RUNNING,),
    "paused": (S.PAUSED, S.CRASHED),
    "prelaunch": (S.PAUSED,),
    "io-error": (S.PAUSED,),
    "watchdog": (S.PAUSED,),
    "guest-panicked": (S.CRASHED,),
    "shutdown": (S.SHUTDOWN,),
    "suspended": (S.PMSUSPENDED,),
}


def reconcile(state: S, run_state: str) -> Trigger | None:
    """What must have happened while nobody watched; None: nothing that matters."""
    if state in EXPECTED.get(run_state, ()):
        return None
    return RUN_STATES.get(run_state)
