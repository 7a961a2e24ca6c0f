"""A bus that records what a service publishes and sends to the root."""

from __future__ import annotations

from ipc import Event


class RecordedControl:
    def __init__(self) -> None:
        self.sent: list[Event] = []

    def send(self, message: Event) -> None:
        self.sent.append(message)


class RecordedBus:
    def __init__(self) -> None:
        self.control = RecordedControl()
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)
