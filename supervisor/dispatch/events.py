"""Events for clients: their encoding, and the publisher that every service uses.

Owns: encoding; that rpcd drops its cached replies before an event. May touch: the bus, to publish.
May not touch: the objects that the events are about.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, Protocol

from ipc import Event
from rpc import table as wire_table
from supervisor.messages.calls import ClientEvent, InvalidateCache
from supervisor.messages.root import KeepRunning

LIFECYCLE_ID: Final = 0  # VIR_*_EVENT_ID_LIFECYCLE; the same in every family
#: The lifecycle message of each family.
LIFECYCLE_MESSAGES: Final = {
    "domain": "domain_event_callback_lifecycle",
    "network": "network_event_lifecycle",
    "storage_pool": "storage_pool_event_lifecycle",
    "node_device": "node_device_event_lifecycle",
    "secret": "secret_event_lifecycle",
}


class EventProcedure(Protocol):
    """What is needed of an event in the table (`rpc.table.Procedure`)."""

    def encode_event(self, value: Any) -> bytes:  # noqa: ANN401  (any fields of any event)
        """Encode the fields after the callback number."""


class EventObject(Protocol):
    """An object that has events: domain, network, pool, secret."""

    @property
    def uuid(self) -> bytes:
        """Its UUID, 16 bytes."""

    @property
    def identity(self) -> object:
        """The object as the protocol encodes it (remote_nonnull_…)."""


class Control(Protocol):
    """The control link to the root."""

    def send(self, message: Event) -> None:
        """Send a message without reply."""


class EventBus(Protocol):
    """What is needed of the bus (`ipc.Node`)."""

    @property
    def control(self) -> Control:
        """The control link to the root."""

    def publish(self, event: Event) -> None:
        """Send an event to its subscribers."""


class Publisher:
    """Publishes the events of one family of objects; rpcd knows which client asked for them."""

    def __init__(self, bus: EventBus, family: str, driver: str = "") -> None:
        """Create the publisher.

        Args:
            bus: this process's node.
            family: of `ClientEvent`.
            driver: whose clients get the events; "": every driver's.
        """
        self._bus = bus
        self._family = family
        self._driver = driver

    def lifecycle(self, entry: EventObject, event: int, detail: int = 0) -> None:
        """Publish that an object was defined, started, stopped or the like."""
        name = LIFECYCLE_MESSAGES[self._family]
        self.publish(entry, LIFECYCLE_ID, name, entry.identity, event, detail)

    def publish(self, entry: EventObject, event_id: int, name: str, *fields: object) -> None:
        """Publish an event; rpcd drops its cached replies, for an event tells of a change.

        Args:
            entry: the object that it is about.
            event_id: of the family.
            name: of the event's message in the protocol table.
            fields: of the message, after the callback number.
        """
        event = ClientEvent(
            family=self._family,
            event_id=event_id,
            driver=self._driver,
            uuid=entry.uuid,
            payload=encode_event(name, *fields),
        )
        self._bus.publish(event)

    def forward(self, event: ClientEvent) -> None:
        """Publish an event that a worker encoded."""
        self._bus.publish(event)

    def invalidate(self, *, of_host: bool = False, settings: bool = False) -> None:
        """Have rpcd drop its cached replies before a change without an event is acknowledged.

        Args:
            of_host: also those that are about the host alone.
            settings: only a setting of an object has changed, as in `InvalidateCache`.
        """
        self._bus.publish(InvalidateCache(of_host=of_host, settings=settings))


class KeepRunningVote:
    """Whether this process keeps the daemon from its idle exit (libvirtd's --timeout)."""

    def __init__(self, bus: EventBus, *, busy: str, idle: str, linger_s: float = 0.0) -> None:
        """Start idle.

        Args:
            bus: this process's node.
            busy: the reason that the root logs while the daemon is kept running.
            idle: the reason that it logs when this process lets it exit.
            linger_s: how long `hold` keeps the vote at least: work that takes less than a
                millisecond would otherwise send the root two votes for each piece.
        """
        self._bus = bus
        self._reasons = {True: busy, False: idle}
        self._busy = False
        self._holders = 0
        self._linger_s = linger_s
        self._is_lingering = False

    def set(self, *, busy: bool) -> None:
        """Send the vote to the root when it has changed."""
        if busy != self._busy:
            self._busy = busy
            self._bus.control.send(KeepRunning(busy=busy, why=self._reasons[busy]))

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the daemon running while the body runs."""
        self._holders += 1
        self.set(busy=True)
        if self._linger_s and not self._is_lingering:
            self._is_lingering = True
            asyncio.get_running_loop().call_later(self._linger_s, self._lingered)
        try:
            yield
        finally:
            self._holders -= 1
            self.set(busy=self._holders > 0 or self._is_lingering)

    def _lingered(self) -> None:
        self._is_lingering = False
        self.set(busy=self._holders > 0)


@cache
def _event(name: str) -> tuple[EventProcedure, int, int]:
    """Return an event's procedure, its field count and the fields before the nested `msg`.

    Newer domain events wrap the older event's message in a field `msg`.
    """
    for procedure in wire_table.load().procedures():
        if procedure.name == name and procedure.kind == "event":
            names = [argument.name for argument in procedure.args[1:]]
            nested_at = names.index("msg") if "msg" in names else len(names)
            return procedure, len(names), nested_at
    raise KeyError(f"the table has no event {name}")


def encode_event(name: str, *fields: object) -> bytes:
    """Encode an event's message for `ClientEvent.payload`.

    Args:
        name: of the message that has a callback number, "domain_event_callback_lifecycle".
        fields: all that follow the number; those of a nested `msg` one by one.

    Raises:
        EncodeError: the fields are not the message's.
    """
    procedure, count, nested_at = _event(name)
    if nested_at == count:
        return procedure.encode_event(fields)
    return procedure.encode_event((*fields[:nested_at], fields[nested_at:]))
