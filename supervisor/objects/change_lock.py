"""Change lock: one change of an object at a time; queries do not take it.

Owns: the lock and the name of the call that holds it. May not touch: the object.
Source: libvirt's VIR_JOB_MODIFY, whose wait is 30 s, too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from supervisor.dispatch.service_errors import ServiceErrors

JOB_S: Final = 30.0
MAX_WAITING: Final = 256  # changes of one object


class ChangeLock:
    """The right to change one object."""

    def __init__(self, name: str, errors: ServiceErrors) -> None:
        self.name = name
        self._errors = errors
        self.holder = ""  # the call that holds it
        self.since = 0.0  # seconds since the epoch at which it was taken
        self._waiting = 0
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, call: str, timeout_s: float = JOB_S) -> AsyncIterator[None]:
        """Hold the lock while the body runs; raises as `acquire`."""
        await self.acquire(call, timeout_s)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, call: str, timeout_s: float = JOB_S) -> None:
        """Take the lock; the caller must release it.

        Raises:
            VirError: OPERATION_TIMEOUT: another call holds it too long; OPERATION_FAILED: too many
                wait for it.
        """
        if self._waiting or self._lock.locked():
            await self._wait(call, timeout_s)
        else:
            await self._lock.acquire()  # at once: it is free
        self.holder, self.since = call, time.time()

    def release(self) -> None:
        """Release the lock."""
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
