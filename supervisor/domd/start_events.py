"""StartEvents: the lifecycle events of a start, of each kind, in libvirt's order.

Owns: that order. May touch: clients, by events. May not touch: guests.
Source: libvirt 9.0, measured: a restore publishes STARTED first, a boot RESUMED.
"""

from __future__ import annotations

from rpc.enums import (
    DomainEventResumedDetailType,
    DomainEventStartedDetailType,
    DomainEventSuspendedDetailType,
    DomainEventType,
)
from supervisor.dispatch.events import Publisher
from supervisor.domd.domain import DomainObject
from supervisor.drivers.driver import Driver
from supervisor.messages.worker import RestoreImage, Start


class StartEvents:
    """Publishes the starts of one driver's domains."""

    def __init__(self, publisher: Publisher, driver: Driver) -> None:
        self._publisher = publisher
        self._driver = driver

    def publish(
        self, domain: DomainObject, request: Start, detail: DomainEventStartedDetailType
    ) -> None:
        """Publish the lifecycle events of a start, in the order in which libvirt does."""
        started = DomainEventType.STARTED
        if isinstance(request.source, RestoreImage):
            self._publish_restored(domain, request.source, paused=request.paused)
        elif request.paused:
            self._publisher.lifecycle(domain, started, detail)
            suspended = (
                DomainEventSuspendedDetailType.FROM_SNAPSHOT
                if detail is DomainEventStartedDetailType.FROM_SNAPSHOT
                else DomainEventSuspendedDetailType.PAUSED
            )
            self._publisher.lifecycle(domain, DomainEventType.SUSPENDED, suspended)
        else:
            # qemuProcessStartCPUs publishes RESUMED before qemuDomainCreate publishes STARTED.
            if self._driver.publishes_resumed_on_start:
                unpaused = DomainEventResumedDetailType.UNPAUSED
                self._publisher.lifecycle(domain, DomainEventType.RESUMED, unpaused)
            self._publisher.lifecycle(domain, started, detail)

    def _publish_restored(
        self, domain: DomainObject, source: RestoreImage, *, paused: bool
    ) -> None:
        restored = DomainEventStartedDetailType.RESTORED
        self._publisher.lifecycle(domain, DomainEventType.STARTED, restored)
        if source.was_running and not paused:
            resumed = DomainEventResumedDetailType.FROM_SNAPSHOT
            self._publisher.lifecycle(domain, DomainEventType.RESUMED, resumed)
        else:
            details = DomainEventSuspendedDetailType
            suspended = details.PAUSED if paused else details.RESTORED
            self._publisher.lifecycle(domain, DomainEventType.SUSPENDED, suspended)
