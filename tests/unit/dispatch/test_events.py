"""The publisher of every service, and the vote that keeps the daemon running."""

from __future__ import annotations

import asyncio

from rpc.values import Network
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.messages.calls import ClientEvent
from supervisor.messages.root import KeepRunning
from tests.unit.dispatch.event_bus import RecordedBus


class OneNetwork:
    uuid = bytes(range(16))
    identity = Network("lan", uuid)


def votes(bus: RecordedBus) -> list[bool]:
    return [vote.busy for vote in bus.control.sent if isinstance(vote, KeepRunning)]


def test_a_lifecycle_event_is_one_message_of_its_family_and_object() -> None:
    bus = RecordedBus()
    Publisher(bus, "network").lifecycle(OneNetwork(), 2)
    (event,) = bus.events
    assert isinstance(event, ClientEvent)
    assert (event.family, event.event_id, event.driver) == ("network", 0, "")
    assert event.uuid == OneNetwork.uuid
    assert event.payload.endswith(b"\0\0\0\2\0\0\0\0")


def test_a_drivers_events_carry_its_name() -> None:
    bus = RecordedBus()
    Publisher(bus, "network", "lxc").lifecycle(OneNetwork(), 2)
    assert [event.driver for event in bus.events if isinstance(event, ClientEvent)] == ["lxc"]


def test_a_vote_is_sent_only_when_it_changes() -> None:
    bus = RecordedBus()
    vote = KeepRunningVote(bus, busy="guests run", idle="no guest runs")
    for busy in (False, True, True, False, False):
        vote.set(busy=busy)
    assert votes(bus) == [True, False]


def test_the_daemon_is_kept_running_until_the_last_holder_leaves() -> None:
    bus = RecordedBus()
    vote = KeepRunningVote(bus, busy="volumes are being written", idle="none is")
    with vote.hold():
        with vote.hold():
            pass
        assert votes(bus) == [True]
    assert votes(bus) == [True, False]


async def test_a_vote_that_lingers_is_sent_once_for_many_short_pieces_of_work() -> None:
    bus = RecordedBus()
    vote = KeepRunningVote(bus, busy="volumes are being written", idle="none is", linger_s=0.01)
    for _ in range(3):
        with vote.hold():
            pass
    assert votes(bus) == [True]
    while votes(bus) == [True]:  # noqa: ASYNC110  (the timer tells nobody)
        await asyncio.sleep(0.005)
    assert votes(bus) == [True, False]
    with vote.hold():
        await asyncio.sleep(0.02)  # longer than it lingers
        assert votes(bus) == [True, False, True]
    assert votes(bus) == [True, False, True, False]
