"""One timer for all calls: each expires at its time, in any order of adding and removing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc import Ack, Request
from ipc.deadlines import Deadlines

steps = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "pass"]), st.integers(0, 5), st.integers(0, 20))
)


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time is moved by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.timers: list[tuple[asyncio.TimerHandle, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None], *_: object) -> asyncio.TimerHandle:  # type: ignore[override]
        handle = asyncio.TimerHandle(when, callback, (), self)
        self.timers.append((handle, callback))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is scheduled for real."""

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [t for t in self.timers if not t[0].cancelled() and t[0].when() <= end]:
            first = min(due, key=lambda timer: timer[0].when())
            self.timers.remove(first)
            self.now = max(self.now, first[0].when())
            first[1]()
        self.now = end


@given(steps)
def test_a_number_expires_at_its_time_unless_it_was_removed(
    steps: list[tuple[str, int, int]],
) -> None:
    loop = Clock()
    expired: list[int] = []
    deadlines = Deadlines(loop, expired.append)
    times: dict[int, float] = {}
    for verb, number, span in steps:
        if verb == "add":
            deadlines.add(number, loop.now + span)
            times[number] = loop.now + span
        elif verb == "remove":
            deadlines.remove(number)
            times.pop(number, None)
        else:
            loop.move(span)
            due = {n for n, time in times.items() if time <= loop.now}
            assert set(expired) == due
            assert len(expired) == len(due)
            expired.clear()
            for n in due:
                del times[n]
        assert all((number in deadlines) == (number in times) for number in range(6))
    deadlines.clear()
    loop.move(1000)
    assert expired == []
    loop.close()


def test_calls_with_one_deadline_share_a_timer() -> None:
    loop = Clock()
    deadlines = Deadlines(loop, lambda _: None)
    for number in range(1000):
        deadlines.add(number, loop.now + 10)
        deadlines.remove(number)
        loop.move(0.001)
    assert len(loop.timers) == 1
    loop.close()


def test_a_request_class_without_a_deadline_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="deadline_s"):

        class Forgetful(Request[Ack], frozen=True, kw_only=True, tag="test.no_deadline"):
            """No deadline."""
