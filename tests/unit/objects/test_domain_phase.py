"""The table of a domain's phases."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.objects.domain_phase import (
    BEGINNING,
    STEPS,
    UP,
    DomainPhase,
    PhaseTracker,
    PhaseTrigger,
    next_phase,
)

P, T = DomainPhase, PhaseTrigger


@pytest.mark.parametrize(
    "triggers",
    [
        [T.BOOT, T.STARTED, T.STOP, T.STOPPED],
        [T.BOOT, T.START_FAILED],
        [T.BOOT, T.STOP, T.START_FAILED],
        [T.BOOT, T.STOP, T.STARTED, T.STOPPED],
        [T.BOOT, T.STARTED, T.WORKER_LOST, T.CONFIRMED, T.STOPPED],
        [T.BOOT, T.STARTED, T.REBOOT, T.STARTED, T.STOPPED],
        [T.RESTORE, T.STARTED, T.SAVE, T.STOPPED],
        [T.ACCEPT, T.STARTED, T.MIGRATE, T.JOB_FAILED, T.MIGRATE, T.STOPPED],
        [T.FOUND, T.CONFIRMED, T.STOP, T.STOP_FAILED, T.STOP, T.STOPPED],
        [T.FOUND, T.STOPPED],
    ],
    ids=lambda triggers: ", ".join(trigger.value for trigger in triggers),
)
def test_a_life_ends_shut_off(triggers: list[PhaseTrigger]) -> None:
    tracker = PhaseTracker("web")
    for trigger in triggers:
        assert tracker.step(trigger), f"{trigger} is refused while {tracker.phase}"
    assert tracker.phase is P.SHUT_OFF


def test_only_a_domain_that_is_off_is_started() -> None:
    for trigger in (T.BOOT, T.RESTORE, T.ACCEPT):
        assert [phase for phase in P if next_phase(phase, trigger)] == [P.SHUT_OFF]


def test_only_a_running_domain_begins_to_be_saved_or_migrated() -> None:
    for trigger in (T.SAVE, T.MIGRATE):
        assert [phase for phase in P if next_phase(phase, trigger)] == [P.RUNNING]


def test_every_domain_that_is_not_off_can_be_stopped() -> None:
    assert {phase for phase in P if next_phase(phase, T.STOP)} == set(P) - {P.SHUT_OFF}


def test_a_guest_may_end_in_every_phase_in_which_it_runs() -> None:
    ended = {phase for phase in P if next_phase(phase, T.STOPPED) is P.SHUT_OFF}
    assert ended == UP | {P.STOPPING}


def test_a_lost_worker_changes_nothing_of_a_start_or_stop() -> None:
    for phase in BEGINNING | {P.STOPPING}:
        assert next_phase(phase, T.WORKER_LOST) is phase


def test_every_phase_is_reached_and_left() -> None:
    assert {to for (phase, _), to in STEPS.items() if to is not phase} == set(P)
    assert {phase for (phase, _), to in STEPS.items() if to is not phase} == set(P)


def test_a_step_that_is_not_allowed_changes_nothing() -> None:
    tracker = PhaseTracker("web")
    assert not tracker.step(T.STOP)
    assert tracker.phase is P.SHUT_OFF


async def test_waiting_ends_when_the_phase_is_left() -> None:
    tracker = PhaseTracker("web")
    tracker.step(T.BOOT)
    waiting = asyncio.create_task(tracker.wait_not_in(BEGINNING))
    await asyncio.sleep(0)
    assert not waiting.done()
    tracker.step(T.STARTED)
    await asyncio.wait_for(waiting, 5)
