"""States of a guest: what leads where, what clients hear, what a definition wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, parse_domain
from rpc.enums import (
    DomainEventCrashedDetailType,
    DomainEventShutdownDetailType,
    DomainEventSuspendedDetailType,
    DomainEventType,
    DomainPausedReason,
    DomainRunningReason,
    DomainState,
)
from rpc.errors import ErrorCode, VirError
from supervisor.messages.worker import NO_EVENT
from supervisor.workers import lifecycle_actions
from supervisor.workers.lifecycle_actions import Action, LifecycleAction
from supervisor.workers.qemu.lifecycle.run_states import EXPECTED, reconcile
from supervisor.workers.state_table import NEXT, Trigger, require, transition

states = st.sampled_from(list(DomainState))
S = DomainState


def domain(words: str = "") -> Domain:
    return parse_domain(
        f"<domain type='qemu'><name>x</name><memory>1024</memory>"
        f"<os><type arch='x86_64'>hvm</type></os>{words}</domain>"
    )


@given(st.lists(st.sampled_from(list(Trigger)), max_size=30))
def test_any_sequence_of_happenings_leaves_a_known_state(triggers: list[Trigger]) -> None:
    state = S.RUNNING
    for trigger in triggers:
        step = transition(state, trigger)
        if step is not None:
            state = step.state
    assert state in (S.RUNNING, S.PAUSED, S.SHUTDOWN, S.CRASHED, S.PMSUSPENDED)


@given(st.sampled_from(list(NEXT)))
def test_a_step_that_changes_the_state_tells_clients_except_at_the_start(
    pair: tuple[DomainState, Trigger],
) -> None:
    step = NEXT[pair]
    assert (step.event == NO_EVENT) == (pair[1] is Trigger.BOOTED)


@pytest.mark.parametrize(
    ("trigger", "reason", "detail"),
    [
        (Trigger.SUSPENDED, DomainPausedReason.USER, DomainEventSuspendedDetailType.PAUSED),
        (
            Trigger.STOPPED_BY_ERROR,
            DomainPausedReason.IOERROR,
            DomainEventSuspendedDetailType.IOERROR,
        ),
        (
            Trigger.STOPPED_BY_WATCHDOG,
            DomainPausedReason.WATCHDOG,
            DomainEventSuspendedDetailType.WATCHDOG,
        ),
    ],
)
def test_why_it_stands_still_is_its_reason_and_the_events_detail(
    trigger: Trigger, reason: int, detail: int
) -> None:
    step = transition(S.RUNNING, trigger)
    assert step == (S.PAUSED, reason, DomainEventType.SUSPENDED, detail)


def test_a_stop_that_only_repeats_what_is_known_changes_nothing() -> None:
    assert transition(S.PAUSED, Trigger.STOPPED) is None
    assert transition(S.CRASHED, Trigger.STOPPED) is None
    assert transition(S.SHUTDOWN, Trigger.STOPPED) is None


def test_a_power_off_is_the_guests_or_the_hosts() -> None:
    own, hosts = (
        transition(S.RUNNING, Trigger.POWERED_OFF),
        transition(S.RUNNING, Trigger.ENDED_BY_HOST),
    )
    assert own is not None
    assert hosts is not None
    assert own.detail == DomainEventShutdownDetailType.GUEST
    assert hosts.detail == DomainEventShutdownDetailType.HOST


def test_a_crash_is_told_and_can_be_left() -> None:
    step = transition(S.RUNNING, Trigger.PANICKED)
    assert step is not None
    assert (step.state, step.event) == (S.CRASHED, DomainEventType.CRASHED)
    assert step.detail == DomainEventCrashedDetailType.PANICKED
    left = transition(S.CRASHED, Trigger.CRASH_LEFT)
    assert left is not None
    assert left.reason == DomainRunningReason.CRASHED


def test_what_a_client_asks_in_the_wrong_state_is_refused_by_name() -> None:
    with pytest.raises(VirError, match="'demo' is running") as refused:
        require("demo", S.RUNNING, Trigger.RESUMED)
    assert refused.value.code is ErrorCode.OPERATION_INVALID


@given(st.sampled_from(list(EXPECTED)))
def test_what_was_known_before_a_takeover_is_no_news(word: str) -> None:
    for state in EXPECTED[word]:
        assert reconcile(state, word) is None


def test_what_happened_while_nobody_watched_is_found_out() -> None:
    assert reconcile(S.RUNNING, "paused") is Trigger.STOPPED
    assert reconcile(S.RUNNING, "shutdown") is Trigger.POWERED_OFF
    assert reconcile(S.PAUSED, "running") is Trigger.RESUMED
    assert reconcile(S.RUNNING, "a word of tomorrow's") is None


def test_a_definition_without_words_is_destroyed_restarted_and_destroyed() -> None:
    plain = domain()
    assert lifecycle_actions.on_poweroff(plain) == LifecycleAction(Action.DESTROY)
    assert lifecycle_actions.on_reboot(plain) == LifecycleAction(Action.RESTART)
    assert lifecycle_actions.on_crash(plain) == LifecycleAction(Action.DESTROY)
    assert lifecycle_actions.allows_reboot(plain)


@pytest.mark.parametrize(
    ("word", "plan"),
    [
        ("preserve", LifecycleAction(Action.PRESERVE)),
        ("rename-restart", LifecycleAction(Action.RENAME_RESTART)),
        ("coredump-destroy", LifecycleAction(Action.DESTROY, dump=True)),
        ("coredump-restart", LifecycleAction(Action.RESTART, dump=True)),
    ],
)
def test_a_definitions_words_for_a_crash_are_obeyed(word: str, plan: LifecycleAction) -> None:
    assert lifecycle_actions.on_crash(domain(f"<on_crash>{word}</on_crash>")) == plan


def test_a_machine_may_not_reboot_itself_when_the_definition_wants_more() -> None:
    assert not lifecycle_actions.allows_reboot(domain("<on_reboot>destroy</on_reboot>"))
