"""Why a domain is shut off: virDomainShutoffReason and the STOPPED event of a QEMU that exited.

Owns: that decision. Pure.
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
    DomainShutoffReason.SAVED: DomainEventStoppedDetailType.SAVED,
    DomainShutoffReason.FAILED: DomainEventStoppedDetailType.FAILED,
    DomainShutoffReason.FROM_SNAPSHOT: DomainEventStoppedDetailType.FROM_SNAPSHOT,
}


def shutoff_reason(status: Status) -> tuple[DomainShutoffReason, DomainEventStoppedDetailType]:
    """Derive the shutoff reason and the detail of event STOPPED from the last status."""
    if status.ending:  # the worker was stopping it: the reason was stored before the signal
        reason = DomainShutoffReason(status.ending)
        return reason, DETAILS.get(reason, DomainEventStoppedDetailType.FAILED)
    if status.pid == 0:  # the start failed before there was a process
        return DomainShutoffReason.FAILED, DomainEventStoppedDetailType.FAILED
    if status.state == DomainState.SHUTDOWN:
        return DomainShutoffReason.SHUTDOWN, DomainEventStoppedDetailType.SHUTDOWN
    return DomainShutoffReason.CRASHED, DomainEventStoppedDetailType.FAILED


def stopped_event(status: Status, uuid: bytes) -> DomainStopped:
    """Make the event that domd gets."""
    reason, detail = shutoff_reason(status)
    return DomainStopped(
        uuid=uuid,
        name=status.name,
        reason=reason,
        event=DomainEventType.STOPPED,
        detail=detail,
        restart=status.restart,
        rename=status.restart,
        disk_changes=list(status.disk_changes),
    )
