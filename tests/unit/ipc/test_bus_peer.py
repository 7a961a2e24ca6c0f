"""One link: calls, refusals, deadlines, cancellation, limits. Both ends on one loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc import (
    Ack,
    BusError,
    CallContext,
    DeadlineExceeded,
    Descriptor,
    Event,
    HandlerFailed,
    NoHandler,
    Peer,
    PeerGone,
    ProtocolError,
    QueueFull,
    Request,
    StandaloneEndpoint,
    current_call,
    handles,
    trace,
)
from ipc.frames import Encoder

Run = Callable[[Coroutine[Any, Any, None]], None]


class Echoed(Request["Echoed"], frozen=True, kw_only=True, tag="test.echoed"):
    text: str

    deadline_s = 5.0


class Echo(Request[Echoed], frozen=True, kw_only=True, tag="test.echo"):
    text: str

    deadline_s = 5.0


class Hang(Request[Ack], frozen=True, kw_only=True, tag="test.hang"):
    deadline_s = 10.0


class Break(Request[Ack], frozen=True, kw_only=True, tag="test.break"):
    how: str

    deadline_s = 5.0


class Unhandled(Request[Ack], frozen=True, kw_only=True, tag="test.unhandled"):
    deadline_s = 5.0


class Open(Request["Opened"], frozen=True, kw_only=True, tag="test.open"):
    write_to: Descriptor

    deadline_s = 5.0


class Opened(Event, frozen=True, kw_only=True, tag="test.opened"):
    read_from: Descriptor


class Tick(Event, frozen=True, kw_only=True, tag="test.tick"):
    number: int
    text: str = ""


class Refusal(Exception):
    pass


class Refusals:
    def encode(self, error: Exception) -> bytes | None:
        return str(error).encode() if isinstance(error, Refusal) else None

    def decode(self, data: bytes) -> Exception:
        return Refusal(data.decode())


class Service:
    def __init__(self) -> None:
        self.hanging = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.ticks: list[int] = []
        self.callers: list[CallContext] = []

    @handles(Echo)
    def echo(self, call: Echo) -> Echoed:
        self.callers.append(current_call())
        assert trace.get() == current_call().trace
        return Echoed(text=call.text)

    @handles(Hang)
    async def hang(self, call: Hang) -> Ack:
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return Ack()

    @handles(Break)
    async def break_(self, call: Break) -> Ack:
        kinds: dict[str, Exception] = {
            "refusal": Refusal("no room"),
            "bus": QueueFull("too many"),
            "bug": KeyError("x"),
            "time": TimeoutError("slow disk"),
        }
        raise kinds[call.how]

    @handles(Open)
    async def open(self, call: Open) -> Opened:
        ours, theirs = os.pipe()
        os.write(call.write_to.fileno(), b"from the service")
        call.write_to.close()
        os.write(theirs, b"read me")
        os.close(theirs)
        return Opened(read_from=Descriptor(ours))

    @handles(Tick)
    def tick(self, event: Tick) -> None:
        self.ticks.append(event.number)


@contextlib.asynccontextmanager
async def linked() -> AsyncIterator[tuple[Peer, Service, Peer]]:
    """A client's end, the service, the service's end."""
    ours, theirs = socket.socketpair()
    home, service = StandaloneEndpoint(Refusals()), Service()
    home.handlers.add(service)
    peer, other = (
        Peer(ours, "service", StandaloneEndpoint(Refusals())),
        Peer(theirs, "client", home),
    )
    try:
        yield peer, service, other
    finally:
        peer.close()
        await other.wait_closed()


def whole(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


def send_many(peer: Peer) -> None:
    for number in range(100):
        peer.send(Tick(number=number, text="x" * 1_000_000))


def test_a_handler_sees_the_callers_name_trace_and_deadline(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, service, _):
            trace.set("abc")
            assert await peer.call(Echo(text="hé")) == Echoed(text="hé")
            (known,) = service.callers
            assert (known.peer, known.trace) == ("client", "abc")
            assert 0 < known.deadline - asyncio.get_running_loop().time() <= 5

    run(scenario())


def test_a_slow_call_does_not_delay_others(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, service, _):
            hung = asyncio.create_task(peer.call(Hang()))
            await service.hanging.wait()
            answers = await asyncio.gather(*(peer.call(Echo(text=str(n))) for n in range(100)))
            assert [answer.text for answer in answers] == [str(n) for n in range(100)]
            hung.cancel()

    run(scenario())


def test_cancelling_a_call_cancels_its_handler(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, service, _):
            waiting = asyncio.create_task(peer.call(Hang()))
            await service.hanging.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await service.cancelled.wait()

    run(scenario())


def test_a_call_and_its_handler_end_at_the_deadline(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, service, _):
            with pytest.raises(DeadlineExceeded, match=r"service .* test.hang"):
                await peer.call(Hang(), deadline_s=0.05)
            await service.cancelled.wait()
            assert (await peer.call(Echo(text="on"))).text == "on"

    run(scenario())


def test_a_call_cancelled_before_its_handler_started_leaves_no_coroutine(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, service, _):
            waiting = asyncio.create_task(peer.call(Hang()))
            await asyncio.sleep(0)
            waiting.cancel()  # call and cancellation arrive together
            assert (await peer.call(Echo(text="on"))).text == "on"
            assert not service.hanging.is_set() or service.cancelled.is_set()

    run(scenario())


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("refusal", Refusal, "no room"),
        ("bus", QueueFull, "too many"),
        ("bug", HandlerFailed, "KeyError"),
        ("time", DeadlineExceeded, "slow disk"),
    ],
)
def test_a_handlers_error_reaches_the_caller_as_its_own_type(
    run: Run, how: str, kind: type[Exception], words: str
) -> None:
    async def scenario() -> None:
        async with linked() as (peer, _, _):
            with pytest.raises(kind, match=words):
                await peer.call(Break(how=how))

    run(scenario())


def test_a_request_without_a_handler_raises_no_handler(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, _, _):
            with pytest.raises(NoHandler, match=r"test\.unhandled"):
                await peer.call(Unhandled())

    run(scenario())


def test_pending_calls_raise_peer_gone_when_the_peer_closes(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, service, other):
            waiting = [asyncio.create_task(peer.call(Hang())) for _ in range(3)]
            await service.hanging.wait()
            other.close()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(result) for result in results] == [PeerGone] * 3
            assert peer.closed
            with pytest.raises(PeerGone):
                await peer.call(Echo(text="x"))
            peer.send(Tick(number=1))  # nobody misses it

    run(scenario())


def test_descriptors_cross_both_ways_and_the_senders_are_closed(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, _, _):
            ours, theirs = os.pipe()
            sent = Descriptor(theirs)
            answer = await peer.call(Open(write_to=sent))
            with pytest.raises(ValueError, match="closed"):
                sent.fileno()
            assert whole(ours) == b"from the service"  # its end shows that no copy is left
            assert whole(answer.read_from.take()) == b"read me"
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(theirs)

    run(scenario())


def test_events_arrive_in_order_and_unhandled_ones_are_dropped(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, service, _):
            for number in range(1000):
                peer.send(Tick(number=number))
            read, write = os.pipe()
            os.close(write)
            peer.send(Opened(read_from=Descriptor(read)))
            await peer.call(Echo(text=""))
            assert service.ticks == list(range(1000))

    run(scenario())


def test_large_messages_cross_in_both_directions_at_once(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, _, _):
            text = "x" * 3_000_000
            answers = await asyncio.gather(*(peer.call(Echo(text=text)) for _ in range(5)))
            assert all(answer.text == text for answer in answers)

    run(scenario())


def test_the_send_queue_to_a_peer_that_does_not_read_is_bounded(run: Run) -> None:
    async def scenario() -> None:
        ours, silent = socket.socketpair()
        with silent:
            peer = Peer(ours, "silent", StandaloneEndpoint())
            with pytest.raises(QueueFull):
                send_many(peer)
            peer.close()

    run(scenario())


def test_calls_beyond_the_limit_raise_queue_full(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (peer, service, _):
            calls = [asyncio.create_task(peer.call(Hang())) for _ in range(4096)]
            await service.hanging.wait()
            with pytest.raises(QueueFull, match="4096"):
                await peer.call(Hang())
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert (await peer.call(Echo(text="on"))).text == "on"

    run(scenario())


def test_a_peer_that_calls_and_never_reads_is_disconnected(run: Run) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        home = StandaloneEndpoint()
        home.handlers.add(Service())
        peer = Peer(theirs, "greedy", home)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        encoder = Encoder()
        text = "x" * 4_000_000
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for number in range(40):
                call = encoder.encode(0, number, 10.0, "", "test.echo", Echo(text=text))[0]
                await loop.sock_sendall(ours, call)
        await peer.wait_closed()
        ours.close()

    run(scenario())


def test_a_call_number_in_use_closes_the_link(run: Run) -> None:
    async def scenario() -> None:
        async with linked() as (_, service, other):
            ours, theirs = socket.socketpair()
            home = StandaloneEndpoint()
            home.handlers.add(service)
            peer = Peer(theirs, "twice", home)
            call = Encoder().encode(0, 5, 10.0, "", "test.hang", Hang())[0]
            ours.sendall(call + call)
            await peer.wait_closed()
            ours.close()
            assert not other.closed

    run(scenario())


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=80), max_size=6), st.binary(max_size=60))
def test_garbage_closes_only_its_own_link(pieces: list[bytes], body: bytes) -> None:
    async def scenario() -> None:
        async with linked() as (peer, service, _):
            ours, theirs = socket.socketpair()
            home = StandaloneEndpoint()
            home.handlers.add(service)
            garbage = Peer(theirs, "garbage", home)
            for piece in pieces:
                ours.send(piece)
            ours.send(len(body).to_bytes(4, "little") + bytes(4) + body)
            ours.close()
            await garbage.wait_closed()
            assert (await peer.call(Echo(text="on"))).text == "on"

    asyncio.run(scenario())


def test_a_reply_of_another_type_fails_only_its_call(run: Run) -> None:
    class WrongReply:
        @handles(Echo)
        def echo(self, call: Echo) -> Ack:
            return Ack()

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        home = StandaloneEndpoint()
        home.handlers.add(WrongReply())
        peer, other = Peer(ours, "liar", StandaloneEndpoint()), Peer(theirs, "client", home)
        with pytest.raises(ProtocolError):
            await peer.call(Echo(text=""))
        assert not peer.closed
        peer.close()
        await other.wait_closed()

    run(scenario())


def test_a_message_has_one_handler() -> None:
    home = StandaloneEndpoint()
    home.handlers.add_function(Tick, print)
    home.handlers.add_function(Tick, print)
    with pytest.raises(ValueError, match="two handlers"):
        home.handlers.add_function(Tick, repr)


def test_every_error_of_the_bus_is_one_type() -> None:
    assert issubclass(PeerGone, BusError)
