"""One change at a time for each domain, network or the like; a query never waits for one.

Owns: the lock of such a thing and who holds it.
May not touch: what is changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from supervisor.dispatch.service_errors import ServiceErrors

JOB_S: Final = 30.0
MAX_WAITING: Final = 256  # changes of one thing that wait for their turn


class ChangeLock:
    """The right to change one domain, network or the like."""

    def __init__(self, name: str, errors: ServiceErrors) -> None:
        """Nobody has it; refusals are of that part of the daemon."""
        self.name = name
        self._errors = errors
        self.holder = ""  # the call that has it
        self.since = 0.0  # the time since the epoch at which it got it
        self._waiting = 0
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, call: str, timeout_s: float = JOB_S) -> AsyncIterator[None]:
        """Have the right while the body runs.

        Raises:
            VirError: OPERATION_TIMEOUT when another call keeps it too long; OPERATION_FAILED when
                too many wait for it.
        """
        if self._waiting or self._lock.locked():
            await self._wait(call, timeout_s)
        else:
            await self._lock.acquire()  # at once: it is free
        self.holder, self.since = call, time.time()
        try:
            yield
        finally:
            self.holder = ""
            self._lock.release()

    async def _wait(self, call: str, timeout_s: float) -> None:
        if self._waiting >= MAX_WAITING:
            detail = (
                "cannot acquire state change lock due to max_queued limit: "
                f"{MAX_WAITING} changes of '{self.name}' wait; let them end first"
            )
            raise self._errors.operation_failed(detail)
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._lock.acquire()
        except TimeoutError:
            detail = (
                f"cannot acquire state change lock (held by {self.holder or 'nobody'}) "
                f"of '{self.name}' for {call}"
            )
            raise self._errors.operation_timeout(detail) from None
        finally:
            self._waiting -= 1
