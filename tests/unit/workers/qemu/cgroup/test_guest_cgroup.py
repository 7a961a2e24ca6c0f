"""A guest's groups on hosts with version 1, version 2, and both."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.domain import Domain, parse_domain
from conf.errors import ConfError
from rpc.errors import ErrorCode, VirError
from supervisor.workers.cgroups.hierarchies import SLICE, Layout
from supervisor.workers.qemu.cgroup.guest_cgroup import (
    EMULATOR,
    GuestCgroup,
    guest_hierarchies,
    thread_hierarchies,
    vcpu_name,
)
from supervisor.workers.qemu.cgroup.placement import group_path, place, record_partition
from supervisor.workers.qemu.cgroup.settings import check_available, thread_limits
from tests.unit.workers.cgroups.fake_tree import hybrid_layout, v1_layout, v2_layout

PATH = f"{SLICE}/qemu-1-web-0"
TUNE = (
    "<vcpu cpuset='0-1'>2</vcpu><cputune><shares>300</shares><period>50000</period>"
    "<quota>20000</quota><global_quota>70000</global_quota><emulator_quota>30000</emulator_quota>"
    "<iothread_quota>40000</iothread_quota><vcpupin vcpu='0' cpuset='1'/></cputune>"
    "<memtune><hard_limit>200000</hard_limit><swap_hard_limit>300000</swap_hard_limit></memtune>"
    "<blkiotune><weight>400</weight></blkiotune>"
    "<numatune><memory mode='strict' nodeset='0'/></numatune>"
)


def domain(inner: str = TUNE) -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>web</name><memory>1024</memory>"
        f"<os><type arch='x86_64'>hvm</type></os>{inner}</domain>"
    )


def placed(layout: Layout) -> GuestCgroup:
    cgroup = GuestCgroup(layout, PATH)
    assert cgroup.make()
    place(cgroup, domain(), 77)
    for name, tid in (("vcpu0", 78), ("iothread1", 79)):
        has, v1_controllers = cgroup.has_threads, layout.v1_controllers
        cgroup.add_thread(name, tid, thread_limits(domain(), name, v1_controllers, has))
    return cgroup


def test_a_host_of_version_1_has_every_limit_in_its_own_hierarchy(tmp_path: Path) -> None:
    placed(v1_layout(tmp_path))

    def at(path: str) -> str:
        return (tmp_path / path).read_text()

    assert at(f"v1-cpu/{PATH}/cpu.shares") == "300"
    assert at(f"v1-cpu/{PATH}/cpu.cfs_quota_us") == "70000"
    assert at(f"v1-cpu/{PATH}/emulator/cpu.cfs_quota_us") == "30000"
    assert at(f"v1-cpu/{PATH}/vcpu0/cpu.cfs_period_us") == "50000"
    assert at(f"v1-cpu/{PATH}/vcpu0/cpu.cfs_quota_us") == "20000"
    assert at(f"v1-cpu/{PATH}/iothread1/cpu.cfs_quota_us") == "40000"
    assert at(f"v1-memory/{PATH}/memory.limit_in_bytes") == str(200000 * 1024)
    assert at(f"v1-memory/{PATH}/memory.memsw.limit_in_bytes") == str(300000 * 1024)
    assert at(f"v1-blkio/{PATH}/blkio.bfq.weight") == "400"
    # A cpuset without CPUs and nodes takes no process.
    assert at(f"v1-cpuset/{PATH}/cpuset.cpus") == "0-3\n"
    assert at(f"v1-cpuset/{PATH}/vcpu0/cpuset.cpus") == "1"
    assert at(f"v1-cpuset/{PATH}/emulator/cpuset.cpus") == "0-1"
    assert at(f"v1-cpuset/{PATH}/emulator/cpuset.mems") == "0"
    assert at(f"v1-memory/{PATH}/cgroup.procs") == "77"
    assert at(f"v1-cpuacct/{PATH}/cgroup.procs") == "77"
    assert (at(f"v1-cpu/{PATH}/emulator/tasks"), at(f"v1-cpu/{PATH}/vcpu0/tasks")) == ("77", "78")


def test_a_host_of_version_2_has_threaded_groups_below_the_guests(tmp_path: Path) -> None:
    cgroup = placed(v2_layout(tmp_path, "cpu", "cpuset", "memory", "io"))
    group = tmp_path / "v2" / PATH
    assert (group / "cgroup.procs").read_text() == "77"
    assert (group / "memory.max").read_text() == str(200000 * 1024)
    assert (group / "memory.swap.max").read_text() == str(100000 * 1024)  # swap alone
    assert (group / "io.weight").read_text() == "400"
    assert (group / "cpu.weight").read_text() == "300"
    assert (group / "cpu.max").read_text() == "70000 100000"
    # A group with processes may enable only what threads can have each for itself.
    assert set((group / "cgroup.subtree_control").read_text().split()) == {"cpu", "cpuset"}
    assert (group / "vcpu0/cgroup.type").read_text() == "threaded"
    assert (group / "vcpu0/cgroup.threads").read_text() == "78"
    assert (group / "vcpu0/cpu.max").read_text() == "20000 50000"
    assert (group / "emulator/cpu.max").read_text() == "30000 100000"
    assert (group / "vcpu0/cpuset.cpus").read_text() == "1"
    cgroup.set_cpus(vcpu_name(0), "2-3")
    assert (group / "vcpu0/cpuset.cpus").read_text() == "2-3"


def test_a_hybrid_host_accounts_in_version_2_and_limits_in_version_1(tmp_path: Path) -> None:
    layout = hybrid_layout(tmp_path)
    assert "cpuacct" not in guest_hierarchies(layout)
    assert thread_hierarchies(layout) == ("cpu", "cpuset")
    cgroup = placed(layout)
    assert (tmp_path / "v2" / PATH / "cgroup.procs").read_text() == "77"
    assert not (tmp_path / "v2" / PATH / "emulator").exists()
    cgroup.set_cpus(EMULATOR, "3")
    assert (tmp_path / "v1-cpuset" / PATH / "emulator/cpuset.cpus").read_text() == "3"
    cgroup.set_cpus(EMULATOR, "")
    assert (tmp_path / "v1-cpuset" / PATH / "emulator/cpuset.cpus").read_text() == "0-3"


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ("<cputune><shares>300</shares></cputune>", "CPU tuning is not available on this host"),
        ("<cputune><quota>3000</quota></cputune>", "cgroup cpu is required for scheduler tuning"),
        ("<memtune><soft_limit>9</soft_limit></memtune>", "Memory cgroup is not available"),
        ("<blkiotune><weight>9</weight></blkiotune>", "Block I/O tuning is not available"),
    ],
)
def test_a_limit_that_the_host_cannot_keep_refuses_the_start(
    tmp_path: Path, inner: str, words: str
) -> None:
    cgroup = GuestCgroup(v2_layout(tmp_path), PATH)  # no controllers
    cgroup.make()
    with pytest.raises(ConfError, match=words):
        check_available(domain(inner), cgroup.has, session=False)
    with pytest.raises(ConfError, match="in session mode"):
        check_available(domain(inner), GuestCgroup(Layout({}), "").has, session=True)
    check_available(domain(""), cgroup.has, session=False)


def test_without_a_group_threads_stay_where_they_are() -> None:
    cgroup = GuestCgroup(Layout({}), "")
    cgroup.add_thread("vcpu0", 1)
    cgroup.set_cpus("vcpu0", "1")
    cgroup.remove_thread("vcpu0")
    assert not cgroup.has("cpu")


def test_a_cpu_that_the_kernel_refuses_is_named(tmp_path: Path) -> None:
    cgroup = placed(v1_layout(tmp_path))
    file = tmp_path / "v1-cpuset" / PATH / "vcpu0/cpuset.cpus"
    file.unlink()
    file.mkdir()  # a write fails
    with pytest.raises(VirError, match=f"Unable to write to '{file}'") as refused:
        cgroup.set_cpus("vcpu0", "1")
    assert refused.value.code is ErrorCode.SYSTEM_ERROR


def test_groups_are_named_as_libvirts_and_differ_between_daemons() -> None:
    plain, other = (group_path(domain(), 3, folder) for folder in ("/a/domain-3-web", "/b"))
    assert plain.startswith(f"{SLICE}/qemu-3-web-")
    assert plain != other
    partitioned = domain("<resource><partition>/big/fast</partition></resource>")
    assert group_path(partitioned, 3, "/a").startswith("big/fast.partition/qemu-3-web-")
    live = domain()
    record_partition(live)
    assert live.partition == "/machine"
    assert group_path(live, 3, "/b") == other
