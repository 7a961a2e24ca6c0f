"""Event callbacks: which events a client registered for, and as which message it gets each.

Owns: one client's callback numbers. Pure. The events and their messages are the protocol table's.
May not touch: sockets, the bus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

import re2

from rpc import table
from rpc.errors import ErrorCode, VirError
from rpc.table import ANY_EVENT, EventId, Procedure
from rpc.values import Domain
from supervisor.dispatch.events import encode_event
from supervisor.messages.calls import ClientEvent

MAX_CALLBACKS: Final = 1024  # per client: a runaway loop of registrations ends here
MONITOR_REGEX: Final = 1  # flag: the event name is a pattern
MONITOR_NOCASE: Final = 2  # flag: letters of either case match
MAX_PATTERN: Final = 256
MAX_PATTERN_MEMORY: Final = 1 << 20  # bytes that RE2 may take for a compiled pattern
MONITOR_EVENT: Final = EventId("qemu_monitor", ANY_EVENT)


class EventPattern(Protocol):
    """A compiled pattern; RE2's time is linear in the name, whatever a client's pattern is."""

    def search(self, text: str) -> object | None:
        """Return the first match, or None."""


@dataclass(frozen=True, slots=True)
class EventMessage:
    """An event as one client gets it."""

    procedure: Procedure
    payload: bytes


@dataclass(frozen=True, slots=True)
class EventCallback:
    """One callback of a client."""

    number: int
    event: EventId
    procedure: Procedure  # the message that reports it
    uuid: bytes | None  # None: every object
    skip: int = 0  # bytes of an event's payload that the legacy message does not have
    name: EventPattern | None = None  # of a monitor event

    @property
    def legacy(self) -> bool:
        """Whether it was registered by a call that gives no callback number."""
        return not self.procedure.has_callback_id

    def matches(self, event: ClientEvent) -> bool:
        """Return whether the callback was registered for the event."""
        return (
            event.family == self.event.family
            and self.event.number in (ANY_EVENT, event.event_id)
            and (self.uuid is None or self.uuid == event.uuid)
            and (self.name is None or self.name.search(event.name) is not None)
        )

    def message(self, event: ClientEvent) -> EventMessage:
        """Build the event message of this callback."""
        if self.legacy:
            return EventMessage(self.procedure, event.payload[self.skip :])
        return EventMessage(self.procedure, self.number.to_bytes(4, "big") + payload_of(event))


def payload_of(event: ClientEvent) -> bytes:
    """Return an event's message after its callback number."""
    if event.monitor is None:
        return event.payload
    monitor = event.monitor
    domain = Domain(monitor.domain, event.uuid, monitor.id)
    stamp = monitor.seconds, monitor.microseconds
    return encode_event("domain_monitor_event", domain, event.name, *stamp, monitor.details)


@dataclass(slots=True)
class EventCallbacks:
    """All callbacks of one client."""

    _by_number: dict[int, EventCallback] = field(default_factory=dict)
    _next: int = 0

    def __len__(self) -> int:
        return len(self._by_number)

    def add(self, family: str, event_id: int, uuid: bytes | None, *, legacy: bool = False) -> int:
        """Register for one event number; the answer is the callback's number.

        Raises:
            VirError: INVALID_ARG for an event that the family does not have.
        """
        event = EventId(family, event_id)
        procedure = table.load().event(event, legacy=legacy)
        if procedure is None or event_id == ANY_EVENT:
            raise VirError(ErrorCode.INVALID_ARG, f"unsupported {family} event ID {event_id}")
        skip = _reason_size(event) if legacy else 0
        return self._register(EventCallback(self._allocate(), event, procedure, uuid, skip))

    def add_monitor(self, uuid: bytes | None, name: str | None, flags: int) -> int:
        """Register for QEMU's own events, by name or pattern.

        Raises:
            VirError: INVALID_ARG for unknown flags or a bad pattern.
        """
        pattern = None if name is None else monitor_pattern(name, flags)
        procedure = table.load().event(MONITOR_EVENT)
        assert procedure is not None, "the qemu program has the message"
        callback = EventCallback(self._allocate(), MONITOR_EVENT, procedure, uuid, name=pattern)
        return self._register(callback)

    def remove(self, number: int, families: tuple[str, ...]) -> None:
        """Remove a callback.

        Raises:
            VirError: INVALID_ARG when this client has no such callback.
        """
        callback = self._by_number.get(number)
        if callback is None or callback.event.family not in families or callback.legacy:
            raise VirError(ErrorCode.INVALID_ARG, f"event callback {number} is not registered")
        del self._by_number[number]

    def remove_legacy(self, event_id: int) -> None:
        """Remove what the legacy calls registered for an event.

        Raises:
            VirError: INVALID_ARG when nothing is registered.
        """
        for number, callback in self._by_number.items():
            if callback.legacy and callback.event.number == event_id:
                del self._by_number[number]
                return
        raise VirError(ErrorCode.INVALID_ARG, f"domain event {event_id} is not registered")

    def matching(self, event: ClientEvent) -> Iterator[EventMessage]:
        """List the messages of an event for this client, in the order of registration."""
        for callback in self._by_number.values():
            if callback.matches(event):
                yield callback.message(event)

    def clear(self) -> None:
        """Remove every callback: the client has disconnected."""
        self._by_number.clear()

    def _allocate(self) -> int:
        if len(self._by_number) >= MAX_CALLBACKS:
            detail = f"this connection has {MAX_CALLBACKS} event callbacks already; remove some"
            raise VirError(ErrorCode.OPERATION_INVALID, detail)
        self._next += 1
        return self._next - 1

    def _register(self, registration: EventCallback) -> int:
        self._by_number[registration.number] = registration
        return registration.number


def monitor_pattern(name: str, flags: int) -> EventPattern:
    """Compile what a client gave as a monitor event's name.

    Raises:
        VirError: INVALID_ARG for unknown flags, an over-long or a bad pattern.
    """
    if flags & ~(MONITOR_REGEX | MONITOR_NOCASE):
        raise VirError(ErrorCode.INVALID_ARG, f"unsupported monitor event flags {flags:#x}")
    if len(name) > MAX_PATTERN:
        raise VirError(ErrorCode.INVALID_ARG, f"event pattern is longer than {MAX_PATTERN}")
    options = re2.Options()
    options.case_sensitive = not flags & MONITOR_NOCASE
    options.log_errors = False
    options.max_mem = MAX_PATTERN_MEMORY
    source = name if flags & MONITOR_REGEX else rf"\A{re2.escape(name)}\z"
    try:
        return cast("EventPattern", re2.compile(source, options))
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        detail = f"bad event pattern '{name}': {text}"
        raise VirError(ErrorCode.INVALID_ARG, detail) from None


def _reason_size(event: EventId) -> int:
    """Measure the reason before the common fields, which only newer forms of some events have."""
    newer = table.load().event(event)
    return 4 if newer is not None and newer.args[1].name == "reason" else 0
