"""Taking turns at the kernel's tables: one change at a time, and no wait without an end.

Owns: the lock.
"""

from __future__ import annotations

import asyncio
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

TURN_S: Final = 60.0  # the longest wait for those who came before


class Turn:
    """`async with turn:` holds it; those who wait come in order."""

    def __init__(self, what: str, domain: ErrorDomain) -> None:
        """Name what is changed, for the message of those who waited too long."""
        self._what = what
        self._domain = domain
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        try:
            async with asyncio.timeout(TURN_S):
                await self._lock.acquire()
        except TimeoutError:
            detail = f"other changes of {self._what} have taken longer than {TURN_S:g} s"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, self._domain) from None

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
