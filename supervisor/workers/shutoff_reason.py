"""Why a guest is off, and what domd is told of it.

Owns: that verdict. Pure.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import (
    DomainEventStoppedDetailType,
    DomainEventType,
    DomainShutoffReason,
    DomainState,
)
from supervisor.messages.worker import DomainStopped
from supervisor.objects.domain_status_xml import Status

DETAILS: Final = {
    DomainShutoffReason.SHUTDOWN: DomainEventStoppedDetailType.SHUTDOWN,
    DomainShutoffReason.DESTROYED: DomainEventStoppedDetailType.DESTROYED,
    DomainShutoffReason.CRASHED: DomainEventStoppedDetailType.CRASHED,
    DomainShutoffReason.FAILED: DomainEventStoppedDetailType.FAILED,
}


def shutoff_reason(status: Status) -> tuple[DomainShutoffReason, DomainEventStoppedDetailType]:
    """Why a guest is off whose emulator has gone, and the detail of its event STOPPED."""
    if status.ending:
        reason = DomainShutoffReason(status.ending)
        return reason, DETAILS.get(reason, DomainEventStoppedDetailType.FAILED)
    if status.pid == 0:  # it never ran
        return DomainShutoffReason.FAILED, DomainEventStoppedDetailType.FAILED
    if status.state == DomainState.SHUTDOWN:
        return DomainShutoffReason.SHUTDOWN, DomainEventStoppedDetailType.SHUTDOWN
    return DomainShutoffReason.CRASHED, DomainEventStoppedDetailType.FAILED


def stopped_event(status: Status, uuid: bytes) -> DomainStopped:
    """What domd is told."""
    reason, detail = shutoff_reason(status)
    return DomainStopped(
        uuid=uuid,
        name=status.name,
        reason=reason,
        event=DomainEventType.STOPPED,
        detail=detail,
        restart=status.restart,
        rename=status.restart,
    )
