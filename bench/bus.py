"""The bus between two real processes: round trip, calls per second, events per second.

The floor is two bare uvloop processes that send the same number of bytes to and fro: what the
machine itself takes at the moment. `python bench/bus.py`
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import time
from collections.abc import Awaitable, Callable

import uvloop

from ipc import Ack, Descriptor, Event, Peer, Request, StandaloneEndpoint, handles

ROUNDS = 20_000
TOGETHER = 64
SIZE = 170  # bytes of a call with 100 bytes of text
LARGE = 1_000_000


class Echoed(Request["Echoed"], frozen=True, kw_only=True, tag="bench.echoed"):
    """What came back."""

    deadline_s = 30.0
    text: str


class Echo(Request[Echoed], frozen=True, kw_only=True, tag="bench.echo"):
    """Send it back."""

    deadline_s = 30.0
    text: str


class Later(Request[Echoed], frozen=True, kw_only=True, tag="bench.later"):
    """Send it back from a task."""

    deadline_s = 30.0
    text: str


class Take(Request[Ack], frozen=True, kw_only=True, tag="bench.take"):
    """Take a descriptor."""

    deadline_s = 30.0
    file: Descriptor


class Tick(Event, frozen=True, kw_only=True, tag="bench.tick"):
    """Count it."""

    number: int


class Service:
    """The other process."""

    def __init__(self) -> None:
        self.ticks = 0

    @handles(Echo)
    def echo(self, call: Echo) -> Echoed:
        """Answer at once."""
        return Echoed(text=call.text)

    @handles(Later)
    async def later(self, call: Later) -> Echoed:
        """Answer from a task."""
        return Echoed(text=call.text)

    @handles(Take)
    def take(self, call: Take) -> Ack:
        """Close it."""
        call.file.close()
        return Ack()

    @handles(Tick)
    def tick(self, event: Tick) -> None:
        """Count."""
        self.ticks += 1


async def serve(end: socket.socket) -> None:
    """Be the other process."""
    home = StandaloneEndpoint()
    home.handlers.add(Service())
    await Peer(end, "client", home).wait_closed()


async def bounce(end: socket.socket) -> None:
    """Send every byte back until the end."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    end.setblocking(False)

    def readable() -> None:
        data = end.recv(65536)
        if data:
            end.send(data)
        elif not done.done():
            done.set_result(None)

    loop.add_reader(end.fileno(), readable)
    await done
    loop.remove_reader(end.fileno())


async def floor(end: socket.socket) -> list[float]:
    """Round trips of bare bytes, in seconds."""
    loop = asyncio.get_running_loop()
    end.setblocking(False)
    answer: list[asyncio.Future[None]] = []

    def readable() -> None:
        end.recv(65536)
        answer[0].set_result(None)

    async def trip() -> None:
        answer[:] = [loop.create_future()]
        end.send(bytes(SIZE))
        await answer[0]

    loop.add_reader(end.fileno(), readable)
    try:
        return await timed(trip)
    finally:
        loop.remove_reader(end.fileno())
        end.close()


async def timed(trip: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> list[float]:
    """Do it many times, one after the other; seconds, sorted."""
    samples = []
    for _ in range(rounds):
        began = time.perf_counter()
        await trip()
        samples.append(time.perf_counter() - began)
    return sorted(samples)


def show(what: str, samples: list[float]) -> None:
    """Print the median and the 99th percentile."""
    p99 = samples[int(len(samples) * 0.99)]
    print(f"{what:32} p50 {statistics.median(samples) * 1e6:7.1f} us   p99 {p99 * 1e6:7.1f} us")


async def measure(end: socket.socket) -> None:
    """Measure the bus."""
    peer = Peer(end, "service", StandaloneEndpoint())
    request, later = Echo(text="x" * 100), Later(text="x" * 100)
    show("round trip, plain handler", await timed(lambda: peer.call(request)))
    show("round trip, coroutine handler", await timed(lambda: peer.call(later)))

    async def give() -> None:
        file = Descriptor(os.open(os.devnull, os.O_RDONLY))
        await peer.call(Take(file=file))

    show("round trip with a descriptor", await timed(give, ROUNDS // 4))
    large = Echo(text="x" * LARGE)
    show("round trip of 1 MB", await timed(lambda: peer.call(large), 100))

    async def ask() -> None:
        for _ in range(ROUNDS // TOGETHER):
            await peer.call(request)

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(TOGETHER)))
    print(f"{'calls, 64 under way':32} {ROUNDS / (time.perf_counter() - began):10.0f} /s")
    began = time.perf_counter()
    for number in range(ROUNDS):
        peer.send(Tick(number=number))
    await peer.call(request)
    print(f"{'events':32} {ROUNDS / (time.perf_counter() - began):10.0f} /s")
    peer.close()


def beside(other: Callable[[socket.socket], Awaitable[None]]) -> tuple[socket.socket, int]:
    """Fork a process that runs the other side."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        uvloop.run(other(theirs))  # type: ignore[arg-type]
        os._exit(0)
    theirs.close()
    return ours, child


def main() -> None:
    """Measure the floor, then the bus."""
    ours, child = beside(bounce)
    show("floor: bare bytes", uvloop.run(floor(ours)))
    os.waitpid(child, 0)
    ours, child = beside(serve)
    uvloop.run(measure(ours))
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
