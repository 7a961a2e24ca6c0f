"""When a process that ended is started again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.runtime.restart_policy import Decision, Policy, RestartHistory, RestartOn

ALWAYS = Policy(RestartOn.ALWAYS, longest_s=5.0, burst=4, window_s=30.0, degraded_s=60.0)


@pytest.mark.parametrize(
    ("when", "crashed", "restart"),
    [
        (RestartOn.ALWAYS, False, True),
        (RestartOn.ALWAYS, True, True),
        (RestartOn.ON_CRASH, False, False),
        (RestartOn.ON_CRASH, True, True),
        (RestartOn.NEVER, True, False),
    ],
)
def test_a_policy_says_after_which_ends_a_process_comes_back(
    when: RestartOn, crashed: bool, restart: bool
) -> None:
    assert RestartHistory(Policy(when)).ended(0.0, crashed=crashed).restart is restart


def test_the_first_restart_is_at_once_and_later_ones_wait_longer() -> None:
    history = RestartHistory(ALWAYS)
    pauses = [history.ended(float(second), crashed=True).pause_s for second in range(4)]
    assert pauses == [0.0, 0.1, 0.2, 0.4]


def test_too_many_ends_in_a_short_time_make_a_process_degraded() -> None:
    history = RestartHistory(ALWAYS)
    decisions = [history.ended(float(second), crashed=True) for second in range(5)]
    assert not decisions[3].degraded
    assert decisions[4] == Decision(restart=True, pause_s=60.0, degraded=True)


def test_ends_long_ago_do_not_count() -> None:
    history = RestartHistory(ALWAYS)
    for second in range(4):
        history.ended(float(second), crashed=True)
    assert history.ended(100.0, crashed=True) == Decision(restart=True, pause_s=0.0)
    assert history.restarts == 5


@given(st.lists(st.floats(0, 1e6), max_size=60))
def test_no_pause_is_ever_beyond_the_longest(times: list[float]) -> None:
    history = RestartHistory(ALWAYS)
    for moment in sorted(times):
        decision = history.ended(moment, crashed=True)
        assert 0 <= decision.pause_s <= (60.0 if decision.degraded else 5.0)
