"""Work on documents: large ones leave the event loop free."""

from __future__ import annotations

import asyncio
import threading

import pytest

from supervisor.runtime.off_loop import LARGE, off_loop


async def test_other_calls_are_answered_beside_a_large_document() -> None:
    answered = threading.Event()

    def work() -> str:
        assert answered.wait(30), "the event loop does not run beside it"
        return "done"

    task = asyncio.create_task(off_loop(LARGE + 1, work))
    await asyncio.sleep(0)
    answered.set()
    assert await task == "done"


async def test_a_small_document_stays_in_its_thread() -> None:
    assert await off_loop(LARGE, threading.current_thread) is threading.current_thread()


async def test_a_refusal_is_the_callers() -> None:
    def refuse() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await off_loop(LARGE + 1, refuse)
