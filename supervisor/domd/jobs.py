"""One change at a time for each domain; a query never waits for one.

Owns: the lock of a domain and who holds it.
May not touch: what is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

JOB_S: Final = 30.0


class Job:
    """The right to change one domain."""

    def __init__(self, name: str) -> None:
        """Nobody has it."""
        self.name = name
        self.holder = ""  # the call that has it
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, call: str, timeout_s: float = JOB_S) -> AsyncIterator[None]:
        """Have the right while the body runs.

        Raises:
            VirError: OPERATION_TIMEOUT when another call keeps it too long.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._lock.acquire()
        except TimeoutError:
            detail = f"cannot acquire state change lock (held by {self.holder}) of '{self.name}'"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU) from None
        self.holder = call
        try:
            yield
        finally:
            self.holder = ""
            self._lock.release()
