"""Work that is done to its end, whoever stops waiting for it.

Owns: nothing. Used where a file is written and memory has to follow it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


async def run_to_completion(work: Coroutine[Any, Any, R]) -> R:
    """Await work that is not cut short when the one who awaits it is cancelled.

    Raises:
        Exception: the work's own.
        CancelledError: the caller was cancelled; the work has been done all the same.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at: nobody is left to be told
        raise
