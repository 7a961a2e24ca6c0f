"""Phases of a domain's life, as domd and its worker each track them: one table of allowed steps.

Owns: the table, and the phase of one domain in one process. May not touch: the guest.

virDomainState says what the guest does (running, paused, crashed); the phase says what the daemon
does with the guest. Libvirt keeps the same facts in `vm->def->id`, `priv->beingDestroyed`,
`vm->removing` and the async job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from enum import Enum
from typing import Final

from supervisor.messages.worker import IncomingMigration, RestoreImage, StartSource

log = logging.getLogger(__name__)


class DomainPhase(Enum):
    """What the daemon does with a domain."""

    SHUT_OFF = "shut off"
    STARTING = "starting"  # fresh boot
    RESTORING = "restoring"  # from a saved image
    INCOMING = "incoming"  # from another host
    RUNNING = "running"
    SAVING = "saving"
    MIGRATING_OUT = "migrating out"
    STOPPING = "stopping"
    UNKNOWN = "unknown"  # it ran at its worker's last report


class PhaseTrigger(Enum):
    """What moves a domain from one phase to another."""

    BOOT = "boot"  # requests
    REBOOT = "reboot"  # of a container: it ended by itself and its worker starts it again
    RESTORE = "restore"
    ACCEPT = "accept"  # a migration from another host
    SAVE = "save"
    MIGRATE = "migrate"
    STOP = "stop"
    STARTED = "started"  # their results
    START_FAILED = "start failed"
    JOB_FAILED = "job failed"  # saving or migrating: the guest runs on
    STOP_FAILED = "stop failed"
    STOPPED = "stopped"  # the guest has ended
    FOUND = "found"  # a predecessor's guest
    WORKER_LOST = "worker lost"
    CONFIRMED = "confirmed"  # by its worker: the guest runs


P = DomainPhase
T = PhaseTrigger
Table = dict[tuple[DomainPhase, PhaseTrigger], DomainPhase]

#: Phases whose guest is being made; requests for a guest wait for their end.
BEGINNING: Final = frozenset({P.STARTING, P.RESTORING, P.INCOMING})
#: Phases of a guest that runs with nothing of its end decided.
UP: Final = frozenset({P.RUNNING, P.SAVING, P.MIGRATING_OUT, P.UNKNOWN})


def _from(phases: Iterable[DomainPhase], trigger: PhaseTrigger, to: DomainPhase) -> Table:
    return {(phase, trigger): to for phase in phases}


def _stay(phases: Iterable[DomainPhase], trigger: PhaseTrigger) -> Table:
    return {(phase, trigger): phase for phase in phases}


STEPS: Final[Table] = {
    (P.SHUT_OFF, T.BOOT): P.STARTING,
    (P.SHUT_OFF, T.RESTORE): P.RESTORING,
    (P.SHUT_OFF, T.ACCEPT): P.INCOMING,
    (P.RUNNING, T.REBOOT): P.STARTING,
    **_from(BEGINNING, T.STARTED, P.RUNNING),
    **_from(BEGINNING, T.START_FAILED, P.SHUT_OFF),
    (P.RUNNING, T.SAVE): P.SAVING,
    (P.RUNNING, T.MIGRATE): P.MIGRATING_OUT,
    **_from((P.SAVING, P.MIGRATING_OUT), T.JOB_FAILED, P.RUNNING),
    # A start that is destroyed is cancelled; it fails, or has succeeded in the same moment.
    **_from(BEGINNING | UP, T.STOP, P.STOPPING),
    (P.STOPPING, T.STOP): P.STOPPING,
    (P.STOPPING, T.STARTED): P.STOPPING,
    (P.STOPPING, T.START_FAILED): P.SHUT_OFF,
    (P.STOPPING, T.STOP_FAILED): P.RUNNING,
    **_from(UP | {P.STOPPING}, T.STOPPED, P.SHUT_OFF),
    (P.SHUT_OFF, T.FOUND): P.UNKNOWN,
    **_from(UP, T.WORKER_LOST, P.UNKNOWN),
    # The call that starts or stops the domain fails at the loss, and acts on it.
    **_stay(BEGINNING | {P.STOPPING}, T.WORKER_LOST),
    (P.UNKNOWN, T.CONFIRMED): P.RUNNING,
    **_stay((P.RUNNING, P.SAVING, P.MIGRATING_OUT, P.STOPPING), T.CONFIRMED),
}


def start_trigger(source: StartSource) -> PhaseTrigger:
    """Return the trigger of a start from this source."""
    if isinstance(source, RestoreImage):
        return PhaseTrigger.RESTORE
    return PhaseTrigger.ACCEPT if isinstance(source, IncomingMigration) else PhaseTrigger.BOOT


def next_phase(phase: DomainPhase, trigger: PhaseTrigger) -> DomainPhase | None:
    """Look up where a trigger leads; None: it is not allowed in this phase."""
    return STEPS.get((phase, trigger))


class PhaseTracker:
    """The phase of one domain."""

    __slots__ = ("_changed", "name", "phase")

    def __init__(self, name: str) -> None:
        self.name = name
        self.phase = DomainPhase.SHUT_OFF
        self._changed: asyncio.Event | None = None  # made by the first to wait: few ever do

    def allows(self, trigger: PhaseTrigger) -> bool:
        """Return whether the trigger is allowed in the present phase."""
        return (self.phase, trigger) in STEPS

    def step(self, trigger: PhaseTrigger) -> bool:
        """Take the step, log it and wake who waits.

        Returns:
            Whether the trigger is allowed; nothing has changed if not.
        """
        phase = next_phase(self.phase, trigger)
        if phase is None:
            log.debug("%s is %s: '%s' is ignored", self.name, self.phase.value, trigger.value)
            return False
        if phase is not self.phase:
            log.debug("%s: %s → %s", self.name, self.phase.value, phase.value)
            self.phase = phase
            if self._changed is not None:
                self._changed.set()
                self._changed = None
        return True

    async def wait_not_in(self, phases: Collection[DomainPhase]) -> None:
        """Wait until the domain is in none of these phases."""
        while self.phase in phases:
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()
