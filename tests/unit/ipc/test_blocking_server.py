"""The end of a link that answers calls one after the other, in a thread of the test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import pytest

from ipc import (
    Ack,
    BlockingServer,
    BusError,
    Descriptor,
    HandlerFailed,
    NoHandler,
    Peer,
    PeerGone,
    QueueFull,
    Request,
    StandaloneEndpoint,
    Unfinished,
    current_call,
    handles,
    trace,
)
from ipc.frames import Encoder


class Said(Request["Said"], frozen=True, kw_only=True, tag="blocking.said"):
    text: str

    deadline_s = 5.0


class Say(Request[Said], frozen=True, kw_only=True, tag="blocking.say"):
    text: str

    deadline_s = 5.0


class Refuse(Request[Ack], frozen=True, kw_only=True, tag="blocking.refuse"):
    how: str

    deadline_s = 5.0


class Swap(Request["Swapped"], frozen=True, kw_only=True, tag="blocking.swap"):
    write_to: Descriptor

    deadline_s = 5.0


class Swapped(Request[Ack], frozen=True, kw_only=True, tag="blocking.swapped"):
    read_from: Descriptor

    deadline_s = 5.0


class Store(Request[Said], frozen=True, kw_only=True, tag="blocking.store"):
    text: str

    deadline_s = 5.0


class Unknown(Request[Ack], frozen=True, kw_only=True, tag="blocking.unknown"):
    deadline_s = 5.0


class Refusal(Exception):
    pass


class Refusals:
    def encode(self, error: Exception) -> bytes | None:
        return str(error).encode() if isinstance(error, Refusal) else None

    def decode(self, data: bytes) -> Exception:
        return Refusal(data.decode())


class Service:
    def __init__(self) -> None:
        self.steps: list[str] = []

    @handles(Say)
    def say(self, call: Say) -> Said:
        self.steps.append(call.text)
        assert trace.get() == current_call().trace == "abc"
        assert current_call().peer == "client"
        return Said(text=call.text)

    @handles(Refuse)
    def refuse(self, call: Refuse) -> Ack:
        kinds = {"refusal": Refusal("no room"), "bus": QueueFull("much"), "bug": KeyError("x")}
        raise kinds[call.how]

    @handles(Swap)
    def swap(self, call: Swap) -> Swapped:
        ours, theirs = os.pipe()
        os.write(call.write_to.fileno(), b"from the service")
        call.write_to.close()
        os.write(theirs, b"read me")
        os.close(theirs)
        return Swapped(read_from=Descriptor(ours))

    @handles(Store)
    def store(self, call: Store) -> Unfinished:
        self.steps.append(f"begin {call.text}")

        def finish() -> Said:
            self.steps.append(f"finish {call.text}")
            if call.text == "bad":
                raise Refusal("not flushed")
            return Said(text=call.text)

        return Unfinished(finish)


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[tuple[socket.socket, Service, asyncio.Task[None]]]:
    """Our end of the link, the service, the thread that serves it."""
    ours, theirs = socket.socketpair()
    endpoint, service = StandaloneEndpoint(Refusals()), Service()
    endpoint.handlers.add(service)
    server = BlockingServer(theirs, "client", endpoint)
    thread = asyncio.create_task(asyncio.to_thread(server.run))
    await asyncio.sleep(0)
    try:
        yield ours, service, thread
    finally:
        ours.close()
        await asyncio.wait_for(thread, 10)


@contextlib.asynccontextmanager
async def linked() -> AsyncIterator[tuple[Peer, Service]]:
    """A client of the service."""
    trace.set("abc")
    async with served() as (ours, service, _):
        peer = Peer(ours, "service", StandaloneEndpoint(Refusals()))
        try:
            yield peer, service
        finally:
            peer.close()


def whole(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


async def test_calls_are_answered_in_their_order() -> None:
    async with linked() as (peer, service):
        texts = [str(number) * 3000 for number in range(200)]
        answers = await asyncio.gather(*(peer.call(Say(text=text)) for text in texts))
        assert [answer.text for answer in answers] == service.steps == texts


async def test_a_frame_of_many_reads_is_one_call() -> None:
    async with linked() as (peer, _):
        text = "x" * 3_000_000
        assert (await peer.call(Say(text=text))).text == text


async def test_every_error_is_the_callers() -> None:
    async with linked() as (peer, _):
        cases: list[tuple[Request[Ack], type[Exception], str]] = [
            (Refuse(how="refusal"), Refusal, "no room"),
            (Refuse(how="bus"), QueueFull, "much"),
            (Refuse(how="bug"), HandlerFailed, "KeyError"),
            (Unknown(), NoHandler, "no handler for blocking.unknown"),
        ]
        for request, kind, words in cases:
            with pytest.raises(kind, match=words):
                await peer.call(request)
        assert (await peer.call(Say(text="still there"))).text == "still there"


async def test_descriptors_cross_both_ways() -> None:
    async with linked() as (peer, _):
        ours, theirs = os.pipe()
        answer = await peer.call(Swap(write_to=Descriptor(theirs)))
        assert whole(ours) == b"from the service"
        assert whole(answer.read_from.take()) == b"read me"


async def test_calls_of_one_kind_that_arrive_together_are_finished_together() -> None:
    ours, theirs = socket.socketpair()
    endpoint, service = StandaloneEndpoint(Refusals()), Service()
    endpoint.handlers.add(service)
    peer = Peer(ours, "service", StandaloneEndpoint(Refusals()))
    trace.set("abc")
    requests = (Store(text="a"), Store(text="bad"), Store(text="c"), Say(text="d"), Store(text="e"))
    calls = [asyncio.create_task(peer.call(request)) for request in requests]
    await asyncio.sleep(0)  # all are sent before the first is read
    thread = asyncio.create_task(asyncio.to_thread(BlockingServer(theirs, "client", endpoint).run))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert service.steps == [
        "begin a", "begin bad", "begin c", "finish a", "finish bad", "finish c", "d",
        "begin e", "finish e",
    ]  # fmt: skip
    assert isinstance(answers.pop(1), Refusal)
    assert [getattr(answer, "text", answer) for answer in answers] == ["a", "c", "d", "e"]
    peer.close()
    await asyncio.wait_for(thread, 10)


async def test_it_ends_with_its_peer_also_when_that_does_not_read() -> None:
    async with served() as (ours, _, thread):
        trace.set("abc")
        call = (0, 1, 5.0, "abc", "blocking.say", Say(text="x" * 1_000_000))
        data, _ = Encoder().encode(*call)
        ours.sendall(data)  # its reply does not fit the socket's buffer
        ours.close()
        await asyncio.wait_for(thread, 10)


async def test_what_is_no_frame_ends_the_link(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as (ours, _, thread):
        ours.sendall(b"\xff" * 100)
        await asyncio.wait_for(thread, 10)
        assert "the link to client is closed" in caplog.text


async def test_events_and_cancellations_are_passed_over() -> None:
    async with linked() as (peer, _):
        call = asyncio.create_task(peer.call(Say(text="a")))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await peer.call(Say(text="b"))).text == "b"


# The caller's side: a call that is finished whatever happens to the caller.


async def test_a_call_to_be_finished_is_waited_for_although_its_caller_is_cancelled() -> None:
    async with linked() as (peer, service):
        call = asyncio.create_task(peer.call(Store(text="a"), finish=True))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert service.steps == ["begin a", "finish a"]


@pytest.mark.parametrize("request_", [Refuse(how="refusal"), Unknown()])
async def test_a_cancelled_caller_is_cancelled_although_the_call_fails(
    request_: Request[Ack],
) -> None:
    async with linked() as (peer, _):
        call = asyncio.create_task(peer.call(request_, finish=True))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_call_to_be_finished_fails_when_the_peer_ends() -> None:
    ours, theirs = socket.socketpair()
    peer = Peer(ours, "service", StandaloneEndpoint())
    call = asyncio.create_task(peer.call(Unknown(), finish=True))
    await asyncio.sleep(0)
    theirs.close()
    with pytest.raises((PeerGone, BusError)):
        await asyncio.wait_for(call, 10)
