"""virDomainState of a guest: transitions, lifecycle events, lifecycle actions."""

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
def test_any_sequence_of_triggers_leads_to_a_defined_state(triggers: list[Trigger]) -> None:
    state = S.RUNNING
    for trigger in triggers:
        step = transition(state, trigger)
        if step is not None:
            state = step.state
    assert state in (S.RUNNING, S.PAUSED, S.SHUTDOWN, S.CRASHED, S.PMSUSPENDED)


@given(st.sampled_from(list(NEXT)))
def test_a_change_of_state_publishes_a_lifecycle_event_except_at_the_start(
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
def test_the_cause_of_a_pause_is_the_state_reason_and_the_event_detail(
    trigger: Trigger, reason: int, detail: int
) -> None:
    step = transition(S.RUNNING, trigger)
    assert step == (S.PAUSED, reason, DomainEventType.SUSPENDED, detail)


def test_a_repeated_stop_event_changes_nothing() -> None:
    assert transition(S.PAUSED, Trigger.STOPPED) is None
    assert transition(S.CRASHED, Trigger.STOPPED) is None
    assert transition(S.SHUTDOWN, Trigger.STOPPED) is None


def test_a_shutdown_event_distinguishes_guest_and_host() -> None:
    own, hosts = (
        transition(S.RUNNING, Trigger.POWERED_OFF),
        transition(S.RUNNING, Trigger.ENDED_BY_HOST),
    )
    assert own is not None
    assert hosts is not None
    assert own.detail == DomainEventShutdownDetailType.GUEST
    assert hosts.detail == DomainEventShutdownDetailType.HOST


def test_a_crash_publishes_an_event_and_can_be_left() -> None:
    step = transition(S.RUNNING, Trigger.PANICKED)
    assert step is not None
    assert (step.state, step.event) == (S.CRASHED, DomainEventType.CRASHED)
    assert step.detail == DomainEventCrashedDetailType.PANICKED
    left = transition(S.CRASHED, Trigger.CRASH_LEFT)
    assert left is not None
    assert left.reason == DomainRunningReason.CRASHED


def test_a_request_in_the_wrong_state_is_refused_with_operation_invalid() -> None:
    with pytest.raises(VirError, match="'demo' is running") as refused:
        require("demo", S.RUNNING, Trigger.RESUMED)
    assert refused.value.code is ErrorCode.OPERATION_INVALID


@given(st.sampled_from(list(EXPECTED)))
def test_a_state_that_is_unchanged_at_the_reconnect_publishes_nothing(word: str) -> None:
    for state in EXPECTED[word]:
        assert reconcile(state, word) is None


def test_changes_while_no_worker_ran_are_detected_at_the_reconnect() -> None:
    assert reconcile(S.RUNNING, "paused") is Trigger.STOPPED
    assert reconcile(S.RUNNING, "shutdown") is Trigger.POWERED_OFF
    assert reconcile(S.PAUSED, "running") is Trigger.RESUMED
    assert reconcile(S.RUNNING, "an unknown state") is None


def test_default_lifecycle_actions_are_destroy_restart_destroy() -> None:
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
def test_on_crash_actions_are_obeyed(word: str, plan: LifecycleAction) -> None:
    assert lifecycle_actions.on_crash(domain(f"<on_crash>{word}</on_crash>")) == plan


def test_qemu_does_not_reset_itself_unless_on_reboot_is_restart() -> None:
    assert not lifecycle_actions.allows_reboot(domain("<on_reboot>destroy</on_reboot>"))
