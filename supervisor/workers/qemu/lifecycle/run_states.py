"""QEMU's run states (`query-status`) as triggers of the domain's state.

Owns: the tables. Pure.
Source: QEMU 7.2, RunState.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainState as S
from supervisor.workers.state_table import Trigger

#: The trigger that must have led to each run state.
RUN_STATES: Final = {
    "running": Trigger.RESUMED,
    "paused": Trigger.STOPPED,
    "io-error": Trigger.STOPPED_BY_ERROR,
    "watchdog": Trigger.STOPPED_BY_WATCHDOG,
    "guest-panicked": Trigger.PANICKED,
    "shutdown": Trigger.POWERED_OFF,
    "suspended": Trigger.SUSPENDED_TO_MEMORY,
    "internal-error": Trigger.STOPPED,  # KVM could not emulate an instruction
    "prelaunch": Trigger.STOPPED,  # QEMU has not got its first `cont`
    "debug": Trigger.STOPPED,  # by the gdb stub
}
#: The domain states that each run state agrees with: nothing was missed.
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
    """Return the trigger that was missed while the monitor was not connected, or None."""
    if state in EXPECTED.get(run_state, ()):
        return None
    return RUN_STATES.get(run_state)
