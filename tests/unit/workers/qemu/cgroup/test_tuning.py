"""Changing the limits of a running QEMU: in all of its groups, or in none."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from pathlib import Path
from typing import cast

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.resources import copy_fields, copy_for_edit
from rpc.errors import ErrorCode, VirError
from supervisor.workers.cgroups.hierarchies import SLICE, Layout
from supervisor.workers.qemu.cgroup.guest_cgroup import EMULATOR, GuestCgroup
from supervisor.workers.qemu.cgroup.tuning import apply_tuning, get_tuning, set_tuning
from supervisor.workers.qemu.guest import Guest
from tests.unit.workers.cgroups.fake_tree import v1_layout, v2_layout

PATH = f"{SLICE}/qemu-1-web-0"
UNLIMITED = 9007199254740991


def xml(inner: str = "") -> str:
    return (
        "<domain type='qemu'><name>web</name><memory>1024</memory>"
        f"<os><type arch='x86_64'>hvm</type></os>{inner}</domain>"
    )


class RunningQemu:
    """As much of a guest as tuning touches."""

    def __init__(self, layout: Layout, inner: str = "") -> None:
        self.cgroup = GuestCgroup(layout, PATH)
        self.cgroup.make()
        for place, name in enumerate((EMULATOR, "vcpu0", "vcpu1", "iothread1")):
            self.cgroup.add_thread(name, 70 + place)
        self.domain: Domain = parse_domain(xml(inner))
        self.updates = 0

    def update_xml(self, _: Set[str]) -> None:
        self.updates += 1

    def tune(self, inner: str, controller: str) -> None:
        requested = copy_for_edit(self.domain, ())
        copy_fields(parse_domain(xml(inner)), requested)
        asyncio.run(apply_tuning(cast(Guest, self), controller, requested))

    def read(self, controller: str) -> dict[str, int | float | str]:
        return {each.field: each.value for each in get_tuning(cast(Guest, self), controller)}


@pytest.fixture(params=["v1", "v2"])
def qemu(tmp_path: Path, request: pytest.FixtureRequest) -> RunningQemu:
    if request.param == "v1":
        return RunningQemu(v1_layout(tmp_path))
    return RunningQemu(v2_layout(tmp_path, "cpu", "cpuset", "memory", "io"))


def test_bandwidth_is_set_in_the_groups_of_each_kind(qemu: RunningQemu) -> None:
    qemu.tune(
        "<cputune><shares>300</shares><quota>20000</quota><global_quota>90000</global_quota>"
        "<emulator_period>50000</emulator_period><iothread_quota>30000</iothread_quota></cputune>",
        "cpu",
    )
    assert qemu.read("cpu") == {
        "cpu_shares": 300,
        "vcpu_period": 100000,
        "vcpu_quota": 20000,
        "global_period": 100000,
        "global_quota": 90000,
        "emulator_period": 50000,
        "emulator_quota": -1,
        "iothread_period": 100000,
        "iothread_quota": 30000,
    }
    other = GuestCgroup(qemu.cgroup.group.layout, PATH).thread("vcpu1")
    file = "cpu.cfs_quota_us" if other.is_v1("cpu") else "cpu.max"
    assert other.read("cpu", file).split()[0] == "20000"
    assert qemu.updates == 1


def test_memory_limits_are_set_and_lifted(qemu: RunningQemu) -> None:
    limits = (
        "<memtune><hard_limit unit='KiB'>5000</hard_limit>"
        "<swap_hard_limit unit='KiB'>8000</swap_hard_limit></memtune>"
    )
    qemu.tune(limits, "memory")
    assert qemu.read("memory") == {
        "hard_limit": 5000,
        "soft_limit": UNLIMITED,
        "swap_hard_limit": 8000,
    }
    lifted = limits.replace("5000", str(UNLIMITED)).replace("8000", str(UNLIMITED))
    qemu.tune(lifted, "memory")
    assert set(qemu.read("memory").values()) == {UNLIMITED}
    tune = qemu.domain.memtune
    assert tune is None or (tune.hard_limit, tune.swap_hard_limit) == (None, None)


def test_a_refused_value_leaves_every_group_as_it_was(tmp_path: Path) -> None:
    qemu = RunningQemu(v1_layout(tmp_path))
    before = qemu.read("cpu")
    broken = tmp_path / "v1-cpu" / PATH / "vcpu1" / "cpu.cfs_quota_us"
    broken.unlink()
    broken.mkdir()  # a write fails
    with pytest.raises(VirError, match="Unable to write to") as refused:
        qemu.tune("<cputune><shares>300</shares><quota>20000</quota></cputune>", "cpu")
    assert refused.value.code is ErrorCode.SYSTEM_ERROR
    broken.rmdir()
    broken.write_text("-1")
    assert qemu.read("cpu") == before
    assert qemu.domain.cputune is None
    assert qemu.updates == 0


def test_a_controller_that_the_host_has_not_is_named(tmp_path: Path) -> None:
    qemu = RunningQemu(v2_layout(tmp_path, "memory"))
    for controller, words in (
        ("cpu", "cgroup CPU controller is not mounted"),
        ("blkio", "blkio cgroup isn't mounted"),
    ):
        with pytest.raises(VirError, match=words) as refused:
            qemu.tune("", controller)
        assert refused.value.code is ErrorCode.OPERATION_INVALID
        with pytest.raises(VirError, match=words):
            qemu.read(controller)


def test_a_weight_without_a_scheduler_that_has_weights_is_refused(tmp_path: Path) -> None:
    qemu = RunningQemu(v1_layout(tmp_path))
    (tmp_path / "v1-blkio" / PATH / "blkio.bfq.weight").unlink()
    with pytest.raises(VirError, match="valid only for cfq scheduler") as refused:
        qemu.tune("<blkiotune><weight>300</weight></blkiotune>", "blkio")
    assert refused.value.code is ErrorCode.OPERATION_INVALID
    assert "weight" not in qemu.read("blkio")


def test_a_restrictive_guest_moves_to_other_nodes(tmp_path: Path) -> None:
    qemu = RunningQemu(v1_layout(tmp_path))
    qemu.tune("<numatune><memory mode='restrictive' nodeset='0'/></numatune>", "cpuset")
    mems = [qemu.cgroup.thread(name).read("cpuset", "cpuset.mems") for name in ("vcpu0", EMULATOR)]
    assert mems == ["0", "0"]


def test_what_is_not_named_stays_as_it_is(qemu: RunningQemu) -> None:
    guest = cast(Guest, qemu)
    qemu.tune("<cputune><shares>300</shares><quota>20000</quota></cputune>", "cpu")
    asyncio.run(
        set_tuning(guest, "cpu", {"cpu_shares": 301, "global_quota": 50000, "vcpu_quota": 0})
    )
    tune = qemu.domain.cputune
    assert tune is not None
    assert (tune.shares, tune.quota, tune.global_quota) == (301, 20000, 50000)
    assert {"cpu_shares": 301, "vcpu_quota": 20000, "global_quota": 50000}.items() <= qemu.read(
        "cpu"
    ).items()


def test_a_value_that_contradicts_the_guests_changes_nothing(qemu: RunningQemu) -> None:
    guest = cast(Guest, qemu)
    asyncio.run(set_tuning(guest, "memory", {"hard_limit": 9000}))
    before = qemu.read("memory")
    with pytest.raises(VirError) as refusal:
        asyncio.run(set_tuning(guest, "memory", {"swap_hard_limit": 8000}))
    assert refusal.value.code is ErrorCode.INVALID_ARG
    assert qemu.read("memory") == before
    assert qemu.domain.memtune is not None
    assert qemu.domain.memtune.swap_hard_limit is None
