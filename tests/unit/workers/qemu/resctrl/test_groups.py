"""A guest's groups: made with what they get, filled with threads, read, removed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from conf.domain import parse_domain
from conf.domain.tuning import Cputune
from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.resctrl import groups, host
from supervisor.workers.qemu.resctrl.groups import add_vcpu, make_groups, remove_groups
from supervisor.workers.qemu.resctrl.monitors import bandwidth_stats, cache_stats
from tests.unit.workers.qemu.resctrl.resctrl_tree import ResctrlFolder, resctrl_tree

MACHINE = "qemu-1-web"
TUNE = """<cachetune vcpus='0-1'><cache id='0' level='3' type='both' size='4' unit='MiB'/>
<monitor level='3' vcpus='0-1'/><monitor level='3' vcpus='1'/></cachetune>
<cachetune vcpus='3'><monitor level='3' vcpus='3'/></cachetune>
<memorytune vcpus='0-1'><node id='0' bandwidth='40'/><monitor vcpus='0'/></memorytune>"""


def tune(inner: str = TUNE) -> Cputune:
    domain = parse_domain(
        "<domain type='kvm'><name>web</name><memory>1</memory><vcpu>4</vcpu>"
        f"<os><type>hvm</type></os><cputune>{inner}</cputune></domain>"
    )
    assert domain.cputune is not None
    return domain.cputune


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResctrlFolder:
    root, cpus = resctrl_tree(tmp_path)
    monkeypatch.setattr(groups, "read_host", lambda root: host.read_host(root, cpus))
    return root


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("qemu-*")}


def test_groups_and_monitors_have_libvirts_names_and_share_vcpus(root: ResctrlFolder) -> None:
    make_groups(tune(), MACHINE, root)
    both = "qemu-1-web-vcpus_0-1"
    assert names(root) == {
        both,
        f"{both}/mon_groups/qemu-1-web-vcpus_1",
        f"{both}/mon_groups/qemu-1-web-vcpus_0",
        "mon_groups/qemu-1-web-vcpus_3",  # a monitor alone is in the default group
    }
    assert (root / both / "schemata").read_text() == "L3:0=3000;1=00ff\nMB:0=40;1=100\n"
    assert remove_groups(tune(), MACHINE, root) == []
    assert names(root) == set()
    assert remove_groups(tune(), MACHINE, root) == []


def test_a_vcpus_thread_is_in_every_group_of_it(root: ResctrlFolder) -> None:
    make_groups(tune(), MACHINE, root)
    for vcpu in range(4):
        add_vcpu(tune(), MACHINE, vcpu, 70 + vcpu, root)

    def tasks(path: str) -> str:
        return (root / path / "tasks").read_text()

    both = "qemu-1-web-vcpus_0-1"
    assert tasks(both) == "71"  # the kernel's has both
    assert tasks(f"{both}/mon_groups/qemu-1-web-vcpus_0") == "70"
    assert tasks(f"{both}/mon_groups/qemu-1-web-vcpus_1") == "71"
    assert tasks("mon_groups/qemu-1-web-vcpus_3") == "73"
    assert tasks(".") == ""


def test_monitors_are_in_the_statistics(root: ResctrlFolder) -> None:
    make_groups(tune(), MACHINE, root)
    found = {each.field: each.value for each in cache_stats(tune(), MACHINE, root)}
    assert found["cpu.cache.monitor.count"] == 3
    assert found["cpu.cache.monitor.1.name"] == "vcpus_1"
    assert found["cpu.cache.monitor.0.vcpus"] == "0-1"
    assert found["cpu.cache.monitor.2.bank.count"] == 2
    assert found["cpu.cache.monitor.2.bank.0.id"] == 0
    assert found["cpu.cache.monitor.2.bank.1.bytes"] == 7
    found = {each.field: each.value for each in bandwidth_stats(tune(), MACHINE, root)}
    assert found["memory.bandwidth.monitor.count"] == 1
    assert found["memory.bandwidth.monitor.0.name"] == "vcpus_0"
    assert found["memory.bandwidth.monitor.0.node.1.bytes.total"] == 700
    assert found["memory.bandwidth.monitor.0.node.0.bytes.local"] == 50


def test_without_monitors_or_resctrl_nothing_is_counted(tmp_path: Path) -> None:
    (count,) = cache_stats(tune(), MACHINE, tmp_path)
    assert (count.field, count.value) == ("cpu.cache.monitor.count", 0)
    assert list(bandwidth_stats(tune(), MACHINE, tmp_path)) == []
    assert [each.value for each in cache_stats(None, MACHINE, tmp_path)] == [0]


def test_a_lost_group_has_no_counters(
    root: ResctrlFolder, caplog: pytest.LogCaptureFixture
) -> None:
    found = {each.field: each.value for each in cache_stats(tune(), MACHINE, root)}
    assert found["cpu.cache.monitor.0.bank.count"] == 0
    assert "cannot be read" in caplog.text


def test_a_group_that_is_there_is_refused_by_its_path(root: ResctrlFolder) -> None:
    make_groups(tune(), MACHINE, root)
    with pytest.raises(VirError, match="qemu-1-web-vcpus_0-1' for resctrl group exists") as refused:
        make_groups(tune("<cachetune vcpus='0-1'><cache id='1' level='3' type='both' size='4' "
                         "unit='MiB'/></cachetune>"), MACHINE, root)  # fmt: skip
    assert refused.value.code is ErrorCode.INTERNAL_ERROR


def test_a_host_without_resctrl_refuses_also_monitors(tmp_path: Path) -> None:
    for inner in (TUNE, "<cachetune vcpus='3'><monitor level='3' vcpus='3'/></cachetune>"):
        with pytest.raises(VirError, match="Resource control is not supported on this host"):
            make_groups(tune(inner), MACHINE, tmp_path)
    make_groups(None, MACHINE, tmp_path)
    make_groups(tune(""), MACHINE, tmp_path)


def test_another_programs_lock_is_waited_for_in_bounded_time(
    root: ResctrlFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "LOCK_S", 0.05)
    fd = os.open(root, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(VirError, match="is locked by another program") as refused:
        make_groups(tune(), MACHINE, root)
    assert refused.value.code is ErrorCode.OPERATION_TIMEOUT
    assert names(root) == set()
    os.close(fd)
