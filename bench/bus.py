"""The bus between two real processes: round trip, calls per second, events per second."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import time

import uvloop

from ipc import Event, Peer, Request, handles
from ipc.handling import Bare

ROUNDS = 20_000
TOGETHER = 64


class Echoed(Request["Echoed"], frozen=True, kw_only=True, tag="bench.echoed"):
    """What came back."""

    text: str


class Echo(Request[Echoed], frozen=True, kw_only=True, tag="bench.echo"):
    """Send it back."""

    text: str


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

    @handles(Tick)
    def tick(self, event: Tick) -> None:
        """Count."""
        self.ticks += 1


async def serve(end: socket.socket) -> None:
    home = Bare()
    home.handlers.add(Service())
    await Peer(end, "client", home).wait_closed()


async def measure(end: socket.socket) -> None:
    peer = Peer(end, "service", Bare())
    request = Echo(text="x" * 100)
    samples = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await peer.call(request, timeout_s=5)
        samples.append(time.perf_counter() - began)
    samples.sort()
    print(f"round trip   p50 {statistics.median(samples) * 1e6:6.1f} us", end="   ")
    print(f"p99 {samples[int(ROUNDS * 0.99)] * 1e6:6.1f} us")
    began = time.perf_counter()

    async def ask() -> None:
        for _ in range(ROUNDS // TOGETHER):
            await peer.call(request, timeout_s=5)

    await asyncio.gather(*(ask() for _ in range(TOGETHER)))
    print(f"calls        {ROUNDS / (time.perf_counter() - began):8.0f} /s, {TOGETHER} under way")
    began = time.perf_counter()
    for number in range(ROUNDS):
        peer.send(Tick(number=number))
    await peer.call(request, timeout_s=30)
    print(f"events       {ROUNDS / (time.perf_counter() - began):8.0f} /s")
    peer.close()


def main() -> None:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        uvloop.run(serve(theirs))
        os._exit(0)
    theirs.close()
    uvloop.run(measure(ours))
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
