"""Which processors a guest is to use: what the agent is asked for, and what is refused."""

from __future__ import annotations

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.agent.guest_vcpus import GuestVcpu, plan_count, plan_vcpus


def vcpus(states: str) -> list[GuestVcpu]:
    """A processor for each letter: f has to stay on, 1 is on, 0 is off."""
    return [
        GuestVcpu(logical_id=number, online=state != "0", can_offline=state != "f")
        for number, state in enumerate(states)
    ]


def changes(planned: list[GuestVcpu]) -> dict[int, bool]:
    return {vcpu.logical_id: vcpu.online for vcpu in planned}


@pytest.mark.parametrize(
    ("states", "count", "planned"),
    [
        ("f111", 2, {1: False, 2: False}),
        ("f010", 3, {1: True}),
        ("f11", 3, {}),
        ("f00", 1, {}),
    ],
)
def test_as_few_processors_change_as_have_to(
    states: str, count: int, planned: dict[int, bool]
) -> None:
    assert changes(plan_count(vcpus(states), count)) == planned


@pytest.mark.parametrize(
    ("states", "count", "words"),
    [
        ("f1", 3, "reports less cpu than requested"),
        ("ff1", 1, "Cannot offline enough CPUs"),
    ],
)
def test_a_number_that_the_guest_cannot_reach_is_refused(
    states: str, count: int, words: str
) -> None:
    with pytest.raises(VirError, match=words) as refused:
        plan_count(vcpus(states), count)
    assert refused.value.code is ErrorCode.INTERNAL_ERROR


def test_an_agent_that_contradicts_itself_is_not_believed() -> None:
    lying = [GuestVcpu(logical_id=0, online=False, can_offline=False)]
    with pytest.raises(VirError, match="Invalid data provided by guest agent"):
        plan_count(lying, 1)


def test_processors_are_chosen_by_their_numbers() -> None:
    assert changes(plan_vcpus(vcpus("f101"), frozenset({1, 2}), online=False)) == {1: False}
    with pytest.raises(VirError, match="vCPU '0' is not offlinable") as refused:
        plan_vcpus(vcpus("f1"), frozenset({0}), online=False)
    assert refused.value.code is ErrorCode.INVALID_ARG
    with pytest.raises(VirError, match="guest is missing vCPUs '4-5'"):
        plan_vcpus(vcpus("f1"), frozenset({1, 4, 5}), online=True)
