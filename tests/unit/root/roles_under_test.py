"""Roles for the tree's own tests: one that only waits, one that crashes when it is told."""

from __future__ import annotations

import os
import signal

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


async def wait_unless_renewed(process: ChildProcess) -> None:
    """Fail where a predecessor had to end for this one."""
    if process.is_replacement:
        raise RuntimeError("this role cannot take over")
    await wait(process)


async def fail(process: ChildProcess) -> None:
    """Never come up."""
    raise RuntimeError("this role always fails")
