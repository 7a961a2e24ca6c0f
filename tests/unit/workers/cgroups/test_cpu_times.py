"""CPU times as the kernel counts them, and as the protocol lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.runtime.kvm_stats import halt_poll_times
from supervisor.runtime.procfs import TICK_NS
from supervisor.workers.cgroups.cpu_table import cpu_table
from supervisor.workers.cgroups.group import Group
from supervisor.workers.cgroups.readings import GroupCpuTimes, cpu_times, percpu_times
from tests.unit.workers.cgroups.fake_tree import hybrid_layout, v1_layout, v2_layout

ERRORS = ServiceErrors(ErrorDomain.QEMU, "qemu")


def test_cpus_follow_each_other_with_all_parameters_of_each() -> None:
    times = {"cpu_time": [5, 7], "vcpu_time": [1, 2]}
    found, width = cpu_table(times, 2, 0, 9, ERRORS)
    assert [(each.field, each.value.value) for each in found] == [
        ("cpu_time", 5), ("vcpu_time", 1), ("cpu_time", 7), ("vcpu_time", 2),
    ]  # fmt: skip
    assert width == 2
    assert cpu_table(times, 0, 0, 0, ERRORS) == ([], 2)  # CPUs
    assert cpu_table(times, 0, 0, 1, ERRORS) == ([], 2)  # parameters
    assert cpu_table({"cpu_time": [5, 7]}, 0, 0, 1, ERRORS) == ([], 1)
    with pytest.raises(VirError, match="start_cpu 2 larger than maximum of 1"):
        cpu_table(times, 2, 2, 1, ERRORS)


def test_what_version_2_does_not_count_is_refused() -> None:
    with pytest.raises(VirError, match="getCpuacctPercpuUsage") as refusal:
        cpu_table({}, 1, 0, 1, ERRORS)
    assert refusal.value.code is ErrorCode.OPERATION_UNSUPPORTED


def test_each_version_is_read(tmp_path: Path) -> None:
    for name, layout in (("1", v1_layout), ("2", v2_layout), ("h", hybrid_layout)):
        (tmp_path / name).mkdir()
        group = Group(layout(tmp_path / name), "web")
        group.make([key for key in group.layout.hierarchies if name != "h" or key == ""])
        expected = (
            GroupCpuTimes(30, TICK_NS, 2 * TICK_NS)
            if name == "1"
            else GroupCpuTimes(30000, 10000, 20000)
        )
        assert cpu_times(group) == expected
    assert percpu_times(Group(v2_layout(tmp_path), "web")) == []


def test_a_guest_that_kvm_does_not_know_has_polled_nothing(tmp_path: Path) -> None:
    guest = tmp_path / "77-12"
    guest.mkdir()
    (guest / "halt_poll_success_ns").write_text("5\n")
    assert halt_poll_times(77, tmp_path) == (0, 0)
    (guest / "halt_poll_fail_ns").write_text("6\n")
    assert halt_poll_times(77, tmp_path) == (5, 6)
    assert halt_poll_times(7, tmp_path) == (0, 0)
