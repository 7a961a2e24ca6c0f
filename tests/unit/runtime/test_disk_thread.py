"""Changes in a thread of their own: their order, their errors, what goes on after a deadline."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from supervisor.runtime.disk_thread import DiskThread
from supervisor.runtime.shield import finish

DEADLINE_S = 10.0


async def test_changes_are_made_in_their_order_in_one_thread() -> None:
    thread, made, threads = DiskThread("test"), [], set()

    def make(number: int) -> None:
        made.append(number)
        threads.add(threading.get_ident())

    waits = [thread.start(partial(make, each), deadline_s=DEADLINE_S) for each in range(20)]
    await asyncio.gather(*waits)
    assert made == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_a_change_that_is_refused_does_not_keep_the_next_from_being_made() -> None:
    def refuse() -> None:
        raise OSError(28, "No space left on device")

    thread, made = DiskThread("test"), threading.Event()
    refused = thread.start(refuse, deadline_s=DEADLINE_S)
    following = thread.start(made.set, deadline_s=DEADLINE_S)
    with pytest.raises(OSError, match="No space"):
        await refused
    await following
    assert made.is_set()


async def test_what_tidies_up_is_not_waited_for() -> None:
    thread, may_tidy, tidied = DiskThread("test"), threading.Event(), threading.Event()

    def tidy() -> None:
        assert may_tidy.wait(DEADLINE_S)
        tidied.set()

    await thread.start(lambda: None, tidy, deadline_s=DEADLINE_S)
    assert not tidied.is_set()
    may_tidy.set()
    await thread.start(lambda: None, deadline_s=DEADLINE_S)
    assert tidied.is_set()


async def test_a_change_goes_on_after_its_deadline() -> None:
    thread, may_go_on, made = DiskThread("test"), threading.Event(), threading.Event()

    def make() -> None:
        assert may_go_on.wait(DEADLINE_S)
        made.set()

    with pytest.raises(TimeoutError):
        await thread.start(make, deadline_s=0.01)
    may_go_on.set()
    await thread.start(lambda: None, deadline_s=DEADLINE_S)
    assert made.is_set()


async def test_a_wait_that_is_cancelled_ends_with_the_change() -> None:
    thread, may_go_on, outcome = DiskThread("test"), threading.Event(), []

    async def change() -> None:
        done = thread.start(lambda: outcome.append(may_go_on.wait(DEADLINE_S)), deadline_s=60.0)
        outcome.append(await finish(done))

    task = asyncio.create_task(change())
    await asyncio.sleep(0)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    may_go_on.set()
    await task
    assert outcome == [True, True], "the change was made, and its caller was cancelled"
