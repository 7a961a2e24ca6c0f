"""Events wait a moment: one send takes them along, and nothing overtakes them."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ipc import Ack, Event, Peer, Request, StandaloneEndpoint
from ipc.frames import Call, EventFrame, FrameDecoder
from ipc.held_events import TURNS
from supervisor.runtime.shield import run_to_completion
from tests.unit.ipc.conftest import Run


class Tick(Event, frozen=True, kw_only=True, tag="test.held_tick"):
    number: int
    text: str = ""


class Ask(Request[Ack], frozen=True, kw_only=True, tag="test.held_ask"):
    deadline_s = 5.0


class Process:
    """A process with two links, whose other ends are bare sockets."""

    def __init__(self) -> None:
        endpoint = StandaloneEndpoint()
        self.ends: list[socket.socket] = []
        self.peers: list[Peer] = []
        for name in ("one", "two"):
            ours, theirs = socket.socketpair()
            theirs.settimeout(0)
            self.ends.append(theirs)
            self.peers.append(Peer(ours, name, endpoint))

    def frames(self, number: int) -> list[type]:
        """Which frames have been sent to an end."""
        try:
            data = self.ends[number].recv(1 << 20)
        except BlockingIOError:
            return []
        return [type(received.frame) for received in FrameDecoder().feed(data)]

    def close(self) -> None:
        for end in self.ends:
            end.close()
        for peer in self.peers:
            peer.close()


def test_events_are_sent_when_the_loop_has_run_what_was_ready(run: Run) -> None:
    async def scenario() -> None:
        process = Process()
        process.peers[0].send(Tick(number=1))
        process.peers[0].send(Tick(number=2))
        assert process.frames(0) == []
        for _ in range(TURNS + 1):
            await asyncio.sleep(0)
        assert process.frames(0) == [EventFrame, EventFrame]
        process.close()

    run(scenario())


def test_the_reply_to_a_change_takes_its_event_along(run: Run) -> None:
    """Although the change runs in a task of its own, which its caller's end does not cancel."""

    async def scenario() -> None:
        process = Process()

        async def change() -> None:
            process.peers[0].send(Tick(number=1))

        async def answer() -> None:
            await run_to_completion(change())
            assert process.frames(0) == []
            process.peers[0].start(Ask())

        await asyncio.create_task(answer())
        assert process.frames(0) == [EventFrame, Call]
        process.close()

    run(scenario())


def test_a_frame_takes_the_events_before_it_along(run: Run) -> None:
    async def scenario() -> None:
        process = Process()
        process.peers[0].send(Tick(number=1))
        process.peers[0].start(Ask())
        assert process.frames(0) == [EventFrame, Call]
        process.close()

    run(scenario())


def test_a_frame_on_another_link_does_not_overtake_an_event(run: Run) -> None:
    async def scenario() -> None:
        process = Process()
        process.peers[0].send(Tick(number=1))
        process.peers[1].start(Ask())
        assert process.frames(0) == [EventFrame]
        assert process.frames(1) == [Call]
        process.close()

    run(scenario())


def test_a_link_that_is_closed_sends_its_events_first(run: Run) -> None:
    async def scenario() -> None:
        process = Process()
        process.peers[0].send(Tick(number=1))
        process.peers[0].close()
        assert process.frames(0) == [EventFrame]
        process.close()

    run(scenario())


@pytest.mark.parametrize("size", [100, 200_000])
def test_events_keep_their_order_whatever_their_size(run: Run, size: int) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        received: list[int] = []
        last = asyncio.Event()

        def take(tick: Tick) -> None:
            received.append(tick.number)
            if tick.number == 19:
                last.set()

        home = StandaloneEndpoint()
        home.handlers.add_function(Tick, take)
        sender = Peer(ours, "receiver", StandaloneEndpoint())
        receiver = Peer(theirs, "sender", home)
        for number in range(20):
            sender.send(Tick(number=number, text="x" * (size if number % 3 else 1)))
        await last.wait()
        assert received == list(range(20))
        sender.close()
        receiver.close()

    run(scenario())
