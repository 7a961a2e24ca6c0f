"""State table: virDomainState of a guest that runs, and the lifecycle event of each step.

Owns: the table. May touch: nothing.
Source: libvirt 9.0, virDomainState and its reasons, virDomainEventType and its details.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, NamedTuple

from rpc.enums import (
    DomainCrashedReason,
    DomainEventCrashedDetailType,
    DomainEventPMSuspendedDetailType,
    DomainEventResumedDetailType,
    DomainEventShutdownDetailType,
    DomainEventStartedDetailType,
    DomainEventSuspendedDetailType,
    DomainEventType,
    DomainPausedReason,
    DomainPMSuspendedReason,
    DomainRunningReason,
    DomainShutdownReason,
    DomainState,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker import NO_EVENT


class Trigger(Enum):
    """What changes the state of a running guest."""

    BOOTED = auto()  # its vCPUs run for the first time
    SUSPENDED = auto()  # a client stopped them
    STOPPED = auto()  # the vCPUs are stopped, for no known reason
    STOPPED_BY_ERROR = auto()  # a disk's error
    STOPPED_BY_WATCHDOG = auto()
    STOPPED_TO_DUMP = auto()  # to dump its memory
    STOPPED_TO_SAVE = auto()  # to save its memory
    STOPPED_TO_SNAPSHOT = auto()  # to save its memory beside overlays
    RESUMED = auto()
    SAVE_CANCELED = auto()  # resumed, as its memory was not saved
    CRASH_LEFT = auto()  # resumed after a panic
    PANICKED = auto()
    CRASH_LOADED = auto()  # the guest loaded its crash kernel
    POWERED_OFF = auto()  # by the guest, or by ACPI
    ENDED_BY_HOST = auto()  # SIGTERM or QMP quit
    SUSPENDED_TO_MEMORY = auto()  # ACPI S3
    SUSPENDED_TO_DISK = auto()  # ACPI S4
    WAKEUP = auto()


class Transition(NamedTuple):
    """The state after a trigger, and its lifecycle event."""

    state: DomainState
    reason: int
    event: int = NO_EVENT
    detail: int = 0


S = DomainState
E = DomainEventType
STARTING: Final = Transition(S.PAUSED, DomainPausedReason.STARTING_UP)
RUNNING: Final = Transition(S.RUNNING, DomainRunningReason.BOOTED)
PAUSED_AT_START: Final = Transition(S.PAUSED, DomainPausedReason.USER)
RUNNING_RESTORED: Final = Transition(S.RUNNING, DomainRunningReason.RESTORED)
#: libvirt says the same of every guest whose memory came as a stream.
PAUSED_RESTORED: Final = Transition(S.PAUSED, DomainPausedReason.MIGRATION)
REVERTED: Final = Transition(S.RUNNING, DomainRunningReason.FROM_SNAPSHOT)
REVERTED_PAUSED: Final = Transition(S.PAUSED, DomainPausedReason.FROM_SNAPSHOT)


def _paused(reason: DomainPausedReason, detail: DomainEventSuspendedDetailType) -> Transition:
    return Transition(S.PAUSED, reason, E.SUSPENDED, detail)


def _from(states: Iterable[DomainState], trigger: Trigger, step: Transition) -> Table:
    return {(state, trigger): step for state in states}


Table = dict[tuple[DomainState, Trigger], Transition]
ALIVE: Final = (S.RUNNING, S.PAUSED, S.SHUTDOWN, S.CRASHED, S.PMSUSPENDED)
MOVING: Final = (S.RUNNING, S.PMSUSPENDED)
STILL: Final = (S.PAUSED, S.SHUTDOWN, S.CRASHED, S.PMSUSPENDED)
RESUMED: Final = Transition(
    S.RUNNING, DomainRunningReason.UNPAUSED, E.RESUMED, DomainEventResumedDetailType.UNPAUSED
)
WOKEN: Final = Transition(
    S.RUNNING, DomainRunningReason.WAKEUP, E.STARTED, DomainEventStartedDetailType.WAKEUP
)
OFF: Final = Transition(
    S.SHUTDOWN, DomainShutdownReason.UNKNOWN, E.SHUTDOWN, DomainEventShutdownDetailType.GUEST
)
OFF_BY_HOST: Final = OFF._replace(detail=DomainEventShutdownDetailType.HOST)
PMSUSPENDED: Final = Transition(
    S.PMSUSPENDED,
    DomainPMSuspendedReason.UNKNOWN,
    E.PMSUSPENDED,
    DomainEventPMSuspendedDetailType.MEMORY,
)

NEXT: Final[Table] = {
    **_from(
        MOVING,
        Trigger.SUSPENDED,
        _paused(DomainPausedReason.USER, DomainEventSuspendedDetailType.PAUSED),
    ),
    (S.RUNNING, Trigger.STOPPED): _paused(
        DomainPausedReason.UNKNOWN, DomainEventSuspendedDetailType.PAUSED
    ),
    (S.RUNNING, Trigger.STOPPED_TO_DUMP): _paused(
        DomainPausedReason.DUMP, DomainEventSuspendedDetailType.PAUSED
    ),
    (S.RUNNING, Trigger.STOPPED_TO_SAVE): _paused(
        DomainPausedReason.SAVE, DomainEventSuspendedDetailType.PAUSED
    ),
    (S.RUNNING, Trigger.STOPPED_TO_SNAPSHOT): _paused(
        DomainPausedReason.SNAPSHOT, DomainEventSuspendedDetailType.PAUSED
    ),
    **_from(
        (S.RUNNING, S.PAUSED),
        Trigger.STOPPED_BY_ERROR,
        _paused(DomainPausedReason.IOERROR, DomainEventSuspendedDetailType.IOERROR),
    ),
    **_from(
        (S.RUNNING, S.PAUSED),
        Trigger.STOPPED_BY_WATCHDOG,
        _paused(DomainPausedReason.WATCHDOG, DomainEventSuspendedDetailType.WATCHDOG),
    ),
    (S.PAUSED, Trigger.BOOTED): RUNNING,
    **_from(STILL, Trigger.RESUMED, RESUMED),
    (S.PAUSED, Trigger.SAVE_CANCELED): RESUMED._replace(reason=DomainRunningReason.SAVE_CANCELED),
    **_from(
        (S.CRASHED, S.PAUSED, S.SHUTDOWN),
        Trigger.CRASH_LEFT,
        RESUMED._replace(reason=DomainRunningReason.CRASHED),
    ),
    **_from(
        (S.RUNNING, S.PAUSED),
        Trigger.PANICKED,
        Transition(
            S.CRASHED,
            DomainCrashedReason.PANICKED,
            E.CRASHED,
            DomainEventCrashedDetailType.PANICKED,
        ),
    ),
    (S.RUNNING, Trigger.CRASH_LOADED): Transition(
        S.RUNNING,
        DomainRunningReason.UNKNOWN,
        E.CRASHED,
        DomainEventCrashedDetailType.CRASHLOADED,
    ),
    **_from((S.RUNNING, S.PAUSED, S.PMSUSPENDED), Trigger.POWERED_OFF, OFF),
    **_from((S.RUNNING, S.PAUSED, S.PMSUSPENDED), Trigger.ENDED_BY_HOST, OFF_BY_HOST),
    **_from((S.RUNNING, S.PAUSED), Trigger.SUSPENDED_TO_MEMORY, PMSUSPENDED),
    **_from(
        (S.RUNNING, S.PAUSED),
        Trigger.SUSPENDED_TO_DISK,
        PMSUSPENDED._replace(detail=DomainEventPMSuspendedDetailType.DISK),
    ),
    (S.PMSUSPENDED, Trigger.WAKEUP): WOKEN,
}


def transition(state: DomainState, trigger: Trigger) -> Transition | None:
    """Look up where a trigger leads; None: it changes nothing."""
    return NEXT.get((state, trigger))


def require(
    name: str, state: DomainState, trigger: Trigger, domain: ErrorDomain = ErrorDomain.QEMU
) -> Transition:
    """Look up the step that a client requests.

    Raises:
        VirError: OPERATION_INVALID: not in this state.
    """
    step = transition(state, trigger)
    if step is None:
        detail = f"domain '{name}' is {state.name.lower()}: it cannot be {trigger.name.lower()}"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, domain)
    return step
