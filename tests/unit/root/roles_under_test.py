"""Roles for the tests of the tree: one that waits, one that crashes on request."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

from ipc import Event, handles
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


async def fail(process: ChildProcess) -> None:
    """Never come up."""
    raise RuntimeError("this role always fails")
