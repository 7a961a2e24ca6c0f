"""Which vcpus are enabled: counts, single ones, and what a plugged one leaves in the XML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.vcpu_states import (
    check_vcpus_to_set,
    enabled_vcpus,
    mark_plugged,
    mark_unplugged,
    select_for_count,
    select_vcpus,
    set_vcpu_count,
    set_vcpu_maximum,
    set_vcpus,
    started_vcpus,
    vcpus_to_plug,
)
from conf.errors import ConfError

ONE_EACH = dict.fromkeys(range(8), 1)


def guest(vcpu: str = "<vcpu current='2'>4</vcpu>", more: str = "") -> Domain:
    return parse_domain(
        f"<domain type='qemu'><name>web</name><memory>1</memory>{vcpu}{more}"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
    )


def listed(domain: Domain) -> list[tuple[bool, bool | None, int | None]]:
    return [(state.enabled, state.hotpluggable, state.order) for state in domain.vcpus]


def test_a_definition_gets_more_vcpus_and_lists_none_of_them() -> None:
    domain = guest()
    set_vcpu_count(domain, 4, hotpluggable=False)
    assert "<vcpu>4</vcpu>" in format_domain(domain)
    set_vcpu_count(domain, 1, hotpluggable=False)
    assert "<vcpu current='1'>4</vcpu>" in format_domain(domain)
    assert "<vcpus>" not in format_domain(domain)


def test_hotpluggable_vcpus_are_listed_from_then_on() -> None:
    domain = guest()
    set_vcpu_count(domain, 3, hotpluggable=True)
    assert listed(domain) == [
        (True, False, None), (True, False, None), (True, True, None), (False, True, None),
    ]  # fmt: skip
    assert (started_vcpus(domain), vcpus_to_plug(domain)) == (2, [2])


def test_a_smaller_maximum_forgets_vcpus_and_their_pins() -> None:
    pins = "<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='3' cpuset='1'/></cputune>"
    domain = guest("<vcpu>4</vcpu>", pins)
    set_vcpu_maximum(domain, 2)
    assert (domain.maximum_vcpus, domain.current_vcpus) == (2, 2)
    assert domain.cputune is not None
    assert [pin.vcpu for pin in domain.cputune.vcpupins] == [0]
    set_vcpu_maximum(domain, 8)
    assert (domain.maximum_vcpus, domain.current_vcpus) == (8, 2)


def test_a_maximum_that_is_not_the_topologys_is_refused() -> None:
    topology = "<cpu><topology sockets='2' cores='2' threads='1'/></cpu>"
    domain = guest("<vcpu>4</vcpu>", topology)
    with pytest.raises(ConfError, match="topology doesn't match") as refused:
        set_vcpu_maximum(domain, 8)
    assert refused.value.kind == "invalid_arg"
    set_vcpu_maximum(domain, 4)


def test_the_first_vcpu_and_those_before_one_that_stays_are_not_set() -> None:
    domain = guest("<vcpu current='3'>4</vcpu>")
    with pytest.raises(ConfError, match="vCPU '0' can't be modified"):
        check_vcpus_to_set(domain, {0})
    with pytest.raises(ConfError, match="followed by non-hotpluggable online vcpus"):
        check_vcpus_to_set(domain, {1})
    check_vcpus_to_set(domain, {2})
    set_vcpus(domain, {2}, enabled=False)
    assert enabled_vcpus(domain) == [0, 1]


def test_a_plugged_vcpu_is_the_last_in_order_and_the_others_close_ranks() -> None:
    domain = guest()
    mark_plugged(domain, [3])
    mark_plugged(domain, [2])
    assert [state.order for state in domain.vcpus] == [1, 2, 4, 3]
    assert domain.vcpu is not None
    assert domain.vcpu.current is None
    mark_unplugged(domain, [3])
    assert [state.order for state in domain.vcpus] == [1, 2, 3, None]
    assert domain.current_vcpus == 3


def test_vcpus_that_stay_cannot_be_unplugged() -> None:
    domain = guest("<vcpu current='3'>4</vcpu>")
    with pytest.raises(ConfError, match="failed to find appropriate hotpluggable vcpus"):
        select_for_count(domain, 1, ONE_EACH)
    with pytest.raises(ConfError, match="vcpu '1' can't be unplugged") as refused:
        select_vcpus(domain, {1}, ONE_EACH, enabled=False)
    assert refused.value.kind == "operation_unsupported"
    with pytest.raises(ConfError, match="already in requested state"):
        select_vcpus(domain, {1}, ONE_EACH, enabled=True)


def test_threads_of_a_core_come_and_go_together() -> None:
    domain = guest("<vcpu current='2'>8</vcpu>")
    cores = dict.fromkeys(range(0, 8, 2), 2)
    assert select_for_count(domain, 6, cores).numbers == [2, 4]
    with pytest.raises(ConfError, match="granularity"):
        select_for_count(domain, 5, cores)
    assert select_vcpus(domain, {4, 5}, cores, enabled=True).numbers == [4]
    with pytest.raises(ConfError, match="only one hotpluggable entity"):
        select_vcpus(domain, {4}, cores, enabled=True)


@given(st.lists(st.integers(1, 8), max_size=8))
def test_plugging_and_unplugging_always_gets_to_the_count_or_changes_nothing(
    counts: list[int],
) -> None:
    domain = guest("<vcpu current='2'>8</vcpu>")
    for count in counts:
        before = enabled_vcpus(domain)
        try:
            selection = select_for_count(domain, count, ONE_EACH)
        except ConfError:
            assert count < 2  # the two of the start stay
            assert enabled_vcpus(domain) == before
            continue
        change = mark_plugged if selection.enable else mark_unplugged
        change(domain, selection.numbers)
        assert len(enabled_vcpus(domain)) == domain.current_vcpus == count
        orders = sorted(state.order for state in domain.vcpus if state.order)
        assert orders == list(range(1, count + 1)) or not domain.vcpus
