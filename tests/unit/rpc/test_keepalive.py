"""Keepalive: when a silent peer is pinged, and when its connection is closed."""

from __future__ import annotations

from rpc import keepalive
from rpc.framing import FrameDecoder, MessageType
from rpc.keepalive import Action, Keepalive


def test_a_silent_peer_is_pinged_count_times_and_then_closed() -> None:
    state = Keepalive(interval_s=5, count=5, last_received=100.0)
    actions = [state.check(100.0 + 5 * step)[0] for step in range(1, 7)]
    assert actions == [Action.PING] * 5 + [Action.CLOSE]


def test_a_message_within_the_interval_postpones_the_ping() -> None:
    state = Keepalive(interval_s=5, count=5, last_received=100.0)
    state.received(104.0)
    assert state.check(105.0) == (Action.WAIT, 4.0)


def test_a_message_resets_the_count_of_unanswered_pings() -> None:
    state = Keepalive(interval_s=5, count=1, last_received=100.0)
    assert state.check(105.0)[0] is Action.PING
    state.received(105.1)
    assert state.check(110.1)[0] is Action.PING


def test_a_ping_is_an_event_message_without_payload() -> None:
    (frame,) = FrameDecoder().feed(keepalive.message(keepalive.PING))
    assert frame.header.type == MessageType.MESSAGE
    assert (frame.header.serial, frame.payload) == (0, b"")
    assert keepalive.is_ping(frame.header)
    (answer,) = FrameDecoder().feed(keepalive.message(keepalive.PONG))
    assert not keepalive.is_ping(answer.header)
