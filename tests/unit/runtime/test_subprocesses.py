"""Programs whose caller gives up while they are being spawned: none runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import uvloop

from supervisor.runtime import subprocesses

TURNS = range(8)  # of the loop: before, while and after it is spawned


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("turns", TURNS)
def test_a_program_that_is_given_up_as_it_begins_does_not_run_on(
    tmp_path: Path, turns: int, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    marker = tmp_path / "ran"

    async def story() -> None:
        words = ["/bin/sh", "-c", f"sleep 30; : > {marker}"]
        running = asyncio.create_task(subprocesses.run(words, deadline_s=10))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(story())
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert [child.cmdline() for child in left if child.status() != psutil.STATUS_ZOMBIE] == []
    assert not marker.exists()
