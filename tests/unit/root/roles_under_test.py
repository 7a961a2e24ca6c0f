"""Roles for the tests of the tree: one that waits, one that crashes on request."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading

from ipc import Descriptor, Event, handles
from supervisor.messages.child import HandedOver, HandOver, Inheritance
from supervisor.runtime.child import ChildProcess


class Crash(Event, frozen=True, kw_only=True, tag="test.crash"):
    """Die as a fault would."""


class Crashing:
    """Dies on demand."""

    @handles(Crash)
    def crash(self, event: Crash) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


async def wait(process: ChildProcess) -> None:
    """Be a service without work."""
    process.node.serve(Crashing())
    await process.ready()
    await process.stopping.wait()


async def eat(process: ChildProcess) -> None:
    """Allocate without end, as a mistake would."""
    await process.ready()
    eaten = []
    while True:
        eaten.append(bytearray(16 << 20))


async def hang(process: ChildProcess) -> None:
    """Block the event loop, as a call that never returns."""
    process.node.serve(Crashing())
    await process.ready()
    await asyncio.sleep(0.1)
    threading.Event().wait()


async def wait_unless_replacement(process: ChildProcess) -> None:
    """Fail in a replacement."""
    if process.is_replacement:
        raise RuntimeError("this role cannot replace another")
    await wait(process)


class Handing:
    """Hands over one end of a socket pair."""

    @handles(HandOver)
    def hand_over(self, _: HandOver) -> HandedOver:
        ours, theirs = socket.socketpair()
        theirs.sendall(b"from the first")
        theirs.detach()
        inheritance = Inheritance(
            process=Descriptor(os.pidfd_open(os.getpid())),
            monitor=Descriptor(ours.detach()),
            state=b"x",
        )
        return HandedOver(inheritance=inheritance)


async def hand_over(process: ChildProcess) -> None:
    """Be a worker that hands its guest over, or says what it has inherited."""
    process.node.serve(Handing())
    if process.inherited is not None:
        with socket.socket(fileno=process.inherited.monitor.take()) as end:
            read = end.recv(100).decode()
        logging.getLogger("roles").warning("inherited %s, %s", read, process.inherited.state)
    await process.ready()
    await process.stopping.wait()


async def fail(process: ChildProcess) -> None:
    """Never come up."""
    raise RuntimeError("this role always fails")
