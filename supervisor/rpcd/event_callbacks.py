"""Which events a client has asked for, and as which message each reaches it.

Owns: one client's callback numbers. Pure: it answers with frames' numbers, never sends.
May not touch: sockets, the bus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from rpc.errors import ErrorCode, VirError
from supervisor.messages.calls import ClientEvent

MAX_CALLBACKS: Final = 1024  # per client: a runaway loop of registrations ends here
MONITOR_REGEX: Final = 1  # flag: the event name is a pattern
MONITOR_NOCASE: Final = 2  # flag: letters of either case match
MAX_PATTERN: Final = 256

#: The message of each event number, by family; protocol/events.json. A new family is a line here.
MESSAGES: Final[dict[str, tuple[str, ...]]] = {
    "domain": (
        "domain_event_callback_lifecycle",
        "domain_event_callback_reboot",
        "domain_event_callback_rtc_change",
        "domain_event_callback_watchdog",
        "domain_event_callback_io_error",
        "domain_event_callback_graphics",
        "domain_event_callback_io_error_reason",
        "domain_event_callback_control_error",
        "domain_event_callback_block_job",
        "domain_event_callback_disk_change",
        "domain_event_callback_tray_change",
        "domain_event_callback_pmwakeup",
        "domain_event_callback_pmsuspend",
        "domain_event_callback_balloon_change",
        "domain_event_callback_pmsuspend_disk",
        "domain_event_callback_device_removed",
        "domain_event_block_job_2",
        "domain_event_callback_tunable",
        "domain_event_callback_agent_lifecycle",
        "domain_event_callback_device_added",
        "domain_event_callback_migration_iteration",
        "domain_event_callback_job_completed",
        "domain_event_callback_device_removal_failed",
        "domain_event_callback_metadata_change",
        "domain_event_block_threshold",
        "domain_event_memory_failure",
        "domain_event_memory_device_size_change",
    ),
    "network": ("network_event_lifecycle",),
    "storage_pool": ("storage_pool_event_lifecycle", "storage_pool_event_refresh"),
    "secret": ("secret_event_lifecycle", "secret_event_value_changed"),
}
#: The last domain event that the calls before callback numbers can register.
LAST_LEGACY: Final = 15
#: These carry a reason between the callback's number and what the older message holds.
REASON_FIRST: Final = frozenset({11, 12, 14})


@dataclass(frozen=True, slots=True)
class EventMessage:
    """An event as one client gets it: the message's name and its whole payload."""

    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class EventCallback:
    """One callback of a client."""

    number: int
    family: str
    event_id: int  # -1: every event of the family
    uuid: bytes | None  # None: every object
    legacy: bool = False
    name: re.Pattern[str] | None = None  # of a monitor event

    def matches(self, event: ClientEvent) -> bool:
        """Whether the event is one this callback asked for."""
        return (
            event.family == self.family
            and (self.event_id in (-1, event.event_id))
            and (self.uuid is None or self.uuid == event.uuid)
            and (self.name is None or self.name.search(event.name) is not None)
        )

    def message(self, event: ClientEvent) -> EventMessage:
        """The event for this callback."""
        if self.family == "qemu_monitor":
            return EventMessage("domain_monitor_event", self._numbered(event.payload))
        name = MESSAGES[self.family][event.event_id]
        if not self.legacy:
            return EventMessage(name, self._numbered(event.payload))
        skip = 4 if event.event_id in REASON_FIRST else 0
        return EventMessage(name.replace("_callback_", "_"), event.payload[skip:])

    def _numbered(self, payload: bytes) -> bytes:
        return self.number.to_bytes(4, "big") + payload


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
        last = LAST_LEGACY + 1 if legacy else len(MESSAGES[family])
        if not 0 <= event_id < last:
            raise VirError(ErrorCode.INVALID_ARG, f"unsupported {family} event ID {event_id}")
        return self._register(EventCallback(self._allocate(), family, event_id, uuid, legacy))

    def add_monitor(self, uuid: bytes | None, name: str | None, flags: int) -> int:
        """Register for QEMU's own events, by name or pattern.

        Raises:
            VirError: INVALID_ARG for unknown flags or a bad pattern.
        """
        pattern = None if name is None else monitor_pattern(name, flags)
        return self._register(
            EventCallback(self._allocate(), "qemu_monitor", -1, uuid, name=pattern)
        )

    def remove(self, number: int, families: tuple[str, ...]) -> None:
        """Forget a callback.

        Raises:
            VirError: INVALID_ARG when this client has no such callback.
        """
        callback = self._by_number.get(number)
        if callback is None or callback.family not in families or callback.legacy:
            raise VirError(ErrorCode.INVALID_ARG, f"event callback {number} is not registered")
        del self._by_number[number]

    def remove_legacy(self, event_id: int) -> None:
        """Forget what the older calls registered for an event.

        Raises:
            VirError: INVALID_ARG when there is nothing to forget.
        """
        for number, callback in self._by_number.items():
            if callback.legacy and callback.event_id == event_id:
                del self._by_number[number]
                return
        raise VirError(ErrorCode.INVALID_ARG, f"domain event {event_id} is not registered")

    def matching(self, event: ClientEvent) -> Iterator[EventMessage]:
        """Everything that the event means for this client, in the order of registration."""
        for callback in self._by_number.values():
            if callback.matches(event):
                yield callback.message(event)

    def clear(self) -> None:
        """Forget everything: the client has closed."""
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


def monitor_pattern(name: str, flags: int) -> re.Pattern[str]:
    """Compile what a client gave as a monitor event's name.

    Raises:
        VirError: INVALID_ARG for unknown flags, an over-long or a bad pattern.
    """
    if flags & ~(MONITOR_REGEX | MONITOR_NOCASE):
        raise VirError(ErrorCode.INVALID_ARG, f"unsupported monitor event flags {flags:#x}")
    if len(name) > MAX_PATTERN:
        raise VirError(ErrorCode.INVALID_ARG, f"event pattern is longer than {MAX_PATTERN}")
    case = re.IGNORECASE if flags & MONITOR_NOCASE else re.NOFLAG
    source = name if flags & MONITOR_REGEX else rf"\A{re.escape(name)}\Z"
    try:
        return re.compile(source, case)
    except (re.error, RecursionError, OverflowError) as error:
        detail = f"bad event pattern '{name}': {error}"
        raise VirError(ErrorCode.INVALID_ARG, detail) from None
