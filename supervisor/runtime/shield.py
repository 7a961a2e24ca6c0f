"""What is not cancelled with its caller: a coroutine, a wait.

Owns: nothing. Used where a file is written and memory must be changed with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
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


async def finish(future: asyncio.Future[Any]) -> bool:
    """Wait until a future is done, also when the caller is cancelled meanwhile.

    Returns:
        Whether the caller was: it raises CancelledError when all is done that belongs together.
    """
    cancelled = False
    while not future.done():
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wake = partial(_wake, waiter)
        future.add_done_callback(wake)
        try:
            await waiter
        except asyncio.CancelledError:
            cancelled = True
            future.remove_done_callback(wake)
    return cancelled


def _wake(waiter: asyncio.Future[None], _: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)
