"""When a silent client is asked, and when it is given up."""

from __future__ import annotations

from supervisor.rpcd.keepalive import Keepalive, Verdict


def test_a_silent_client_is_asked_and_then_given_up() -> None:
    keepalive = Keepalive(interval_s=5, count=5, last_heard=100.0)
    verdicts = [keepalive.check(100.0 + 5 * step)[0] for step in range(1, 7)]
    assert verdicts == [Verdict.PING] * 5 + [Verdict.GIVE_UP]


def test_a_client_that_speaks_is_not_asked() -> None:
    keepalive = Keepalive(interval_s=5, count=5, last_heard=100.0)
    keepalive.heard(104.0)
    assert keepalive.check(105.0) == (Verdict.WAIT, 4.0)


def test_an_answer_starts_the_count_anew() -> None:
    keepalive = Keepalive(interval_s=5, count=1, last_heard=100.0)
    assert keepalive.check(105.0)[0] is Verdict.PING
    keepalive.heard(105.1)
    assert keepalive.check(110.1)[0] is Verdict.PING
