"""Which events reach a client, and as which message."""

from __future__ import annotations

import msgspec
import pytest

from rpc.errors import ErrorCode, VirError
from rpc.values import Domain
from supervisor.messages.calls import ClientEvent, MonitorEvent
from supervisor.rpcd.event_callbacks import MAX_CALLBACKS, EventCallbacks

ALICE = b"a" * 16
BOB = b"b" * 16


def lifecycle(uuid: bytes = ALICE, payload: bytes = b"payload!") -> ClientEvent:
    return ClientEvent(
        family="domain", event_id=0, driver="qemu", uuid=uuid, name="", payload=payload
    )


def messages(callbacks: EventCallbacks, event: ClientEvent) -> list[tuple[str, bytes]]:
    """The messages that an event is for a client: names and payloads."""
    return [(message.procedure.name, message.payload) for message in callbacks.matching(event)]


def monitor(name: str, uuid: bytes = ALICE) -> ClientEvent:
    return ClientEvent(
        family="qemu_monitor", event_id=0, driver="qemu", uuid=uuid, name=name, payload=b"pay!"
    )


def test_an_event_is_prefixed_with_the_callback_number() -> None:
    callbacks = EventCallbacks()
    callbacks.add("domain", 1, None)
    number = callbacks.add("domain", 0, None)
    assert messages(callbacks, lifecycle()) == [
        ("domain_event_callback_lifecycle", number.to_bytes(4, "big") + b"payload!")
    ]


def test_a_callback_of_one_domain_ignores_events_of_others() -> None:
    callbacks = EventCallbacks()
    callbacks.add("domain", 0, ALICE)
    assert list(callbacks.matching(lifecycle(ALICE)))
    assert not list(callbacks.matching(lifecycle(BOB)))


def test_a_legacy_registration_gets_the_legacy_message() -> None:
    callbacks = EventCallbacks()
    callbacks.add("domain", 0, None, legacy=True)
    assert messages(callbacks, lifecycle()) == [("domain_event_lifecycle", b"payload!")]


@pytest.mark.parametrize("event_id", [11, 12, 14])
def test_a_legacy_message_has_no_reason(event_id: int) -> None:
    callbacks = EventCallbacks()
    callbacks.add("domain", event_id, None, legacy=True)
    event = ClientEvent(
        family="domain", event_id=event_id, driver="qemu", uuid=ALICE, name="", payload=b"rsn0dom"
    )
    (message,) = callbacks.matching(event)
    assert message.payload == b"dom"


@pytest.mark.parametrize(("event_id", "legacy"), [(-1, False), (27, False), (16, True)])
def test_an_event_that_does_not_exist_cannot_be_registered(event_id: int, legacy: bool) -> None:
    with pytest.raises(VirError) as refused:
        EventCallbacks().add("domain", event_id, None, legacy=legacy)
    assert refused.value.code is ErrorCode.INVALID_ARG


def test_a_removed_callback_gets_no_event_and_cannot_be_removed_again() -> None:
    callbacks = EventCallbacks()
    number = callbacks.add("domain", 0, None)
    callbacks.remove(number, ("domain",))
    assert not list(callbacks.matching(lifecycle()))
    with pytest.raises(VirError, match="not registered"):
        callbacks.remove(number, ("domain",))


def test_a_monitor_callback_is_not_removed_by_the_call_for_domain_events() -> None:
    callbacks = EventCallbacks()
    number = callbacks.add_monitor(None, None, 0)
    with pytest.raises(VirError, match="not registered"):
        callbacks.remove(number, ("domain",))
    assert len(callbacks) == 1


def test_a_monitors_event_is_encoded_for_the_client_that_wants_it() -> None:
    callbacks = EventCallbacks()
    number = callbacks.add_monitor(None, "RESET", 0)
    said = MonitorEvent(domain="web", id=3, seconds=5, microseconds=6, details='{"a": 1}')
    event = msgspec.structs.replace(monitor("RESET"), payload=b"", monitor=said)
    [message] = callbacks.matching(event)
    assert message.procedure.decode_args(message.payload) == (
        number, Domain("web", ALICE, 3), "RESET", 5, 6, '{"a": 1}',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "flags", "heard"),
    [
        (None, 0, True),
        ("RESET", 0, True),
        ("RES", 0, False),
        ("reset", 0, False),
        ("reset", 2, True),
        ("RES.*", 1, True),
        ("^STOP", 1, False),
    ],
)
def test_a_monitor_event_is_chosen_by_name_or_pattern(
    pattern: str | None, flags: int, heard: bool
) -> None:
    callbacks = EventCallbacks()
    callbacks.add_monitor(None, pattern, flags)
    assert bool(list(callbacks.matching(monitor("RESET")))) is heard


def test_a_pattern_with_nested_repetitions_matches_in_linear_time() -> None:
    callbacks = EventCallbacks()
    callbacks.add_monitor(None, "(([A-Z]*)*)*x$", 1)  # backtracking would need 2^64 steps
    assert list(callbacks.matching(monitor("A" * 64))) == []


@pytest.mark.parametrize(("pattern", "flags"), [("(", 1), ("x" * 300, 0), ("x", 4), ("(?=R)", 1)])
def test_a_bad_pattern_is_refused(pattern: str, flags: int) -> None:
    with pytest.raises(VirError) as refused:
        EventCallbacks().add_monitor(None, pattern, flags)
    assert refused.value.code is ErrorCode.INVALID_ARG


def test_callbacks_of_one_client_are_limited() -> None:
    callbacks = EventCallbacks()
    for _ in range(MAX_CALLBACKS):
        callbacks.add("domain", 0, None)
    with pytest.raises(VirError, match="remove some"):
        callbacks.add("domain", 0, None)
