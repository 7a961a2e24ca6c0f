"""A coroutine that is not cancelled with its caller.

Owns: nothing. Used where a file is written and memory must be changed with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


async def run_to_completion(coroutine: Coroutine[Any, Any, R]) -> R:
    """Await a coroutine, and finish it also when the caller is cancelled meanwhile.

    Raises:
        Exception: the coroutine's own.
        CancelledError: the caller was cancelled; the coroutine has finished all the same.
    """
    task = asyncio.ensure_future(coroutine)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # retrieved, else asyncio logs that it never was
        raise
