"""Limits of a QEMU's cgroup: what the kernel has, before and after changes, deaths and the end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from supervisor.workers.cgroups.hierarchies import layout
from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import EventLoop, Watch, wait_until
from tests.clients.libvirt_binding import libvirt

DEVICE: Final = "/dev/net/tun"  # one that everybody may open, but for the filter
TUNE: Final = (
    "<iothreads>1</iothreads><cputune><shares>2048</shares><quota>40000</quota>"
    "<emulator_quota>50000</emulator_quota><iothread_quota>60000</iothread_quota></cputune>"
    # A hard limit is the limit of locked memory as well, which takes a right of its own.
    "<memtune><soft_limit unit='KiB'>500000</soft_limit></memtune>"
)


def can_limit() -> bool:
    """Whether this host lets us make a group with CPU and memory limits."""
    v1_controllers = layout().v1_controllers
    if os.geteuid() != 0 or not {"cpu", "memory"} <= v1_controllers:
        return False
    return all(os.access(layout().hierarchies[name], os.W_OK) for name in ("cpu", "memory"))


pytestmark = pytest.mark.skipif(not can_limit(), reason="needs writable cgroups of version 1")


def group_of(pid: int, controller: str = "memory") -> str:
    """Read the group of a process, below the hierarchy's root."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path.lstrip("/")
    raise AssertionError(f"{pid} is in no group of {controller}")


def value(controller: str, group: str, file: str) -> str:
    return (layout().hierarchies[controller] / group / file).read_text().strip()


def folders(group: str) -> list[Path]:
    return [root / group for root in set(layout().hierarchies.values()) if (root / group).exists()]


@pytest.fixture
def own() -> Iterator[Daemon]:
    """A daemon that the test may kill parts of."""
    EventLoop.start()
    with Daemon() as running:
        yield running


def test_limits_hold_from_the_start_and_change_live(daemon: Daemon, link: Any) -> None:
    domain = link.defineXML(idle("bounded", top=TUNE))
    domain.create()
    (pid,) = daemon.emulators()
    group = group_of(pid)
    assert value("cpu", group, "cpu.shares") == "2048"
    assert value("cpu", group, "vcpu0/cpu.cfs_quota_us") == "40000"
    assert value("cpu", group, "emulator/cpu.cfs_quota_us") == "50000"
    assert value("cpu", group, "iothread1/cpu.cfs_quota_us") == "60000"
    assert value("memory", group, "memory.soft_limit_in_bytes") == str(500000 * 1024)
    threads = {
        (task / "comm").read_text().strip(): group_of(int(task.name), "cpu")
        for task in Path(f"/proc/{pid}/task").iterdir()
    }
    assert threads["CPU 0/TCG"] == f"{group}/vcpu0"
    assert threads["IO iothread1"] == f"{group}/iothread1"
    assert "<partition>/machine</partition>" in domain.XMLDesc()

    found = domain.schedulerParametersFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert (found["cpu_shares"], found["vcpu_quota"], found["vcpu_period"]) == (2048, 40000, 100000)
    watch = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE)
    change = {"cpu_shares": 300, "vcpu_quota": 70000, "global_quota": 90000}
    for flags in (libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG):
        domain.setSchedulerParametersFlags(change, flags)
    watch.expect("bounded", {f"cputune.{name}": number for name, number in change.items()})
    watch.close()
    assert value("cpu", group, "cpu.shares") == "300"
    assert value("cpu", group, "cpu.cfs_quota_us") == "90000"
    assert value("cpu", group, "vcpu0/cpu.cfs_quota_us") == "70000"
    assert value("cpu", group, "emulator/cpu.cfs_quota_us") == "50000"
    for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
        assert "<shares>300</shares>" in domain.XMLDesc(flags)

    domain.setMemoryParameters({"hard_limit": 400000, "swap_hard_limit": 600000})
    assert domain.memoryParameters()["hard_limit"] == 400000
    unlimited = 9007199254740991  # VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
    domain.setMemoryParameters({"hard_limit": unlimited, "swap_hard_limit": unlimited})
    assert int(value("memory", group, "memory.limit_in_bytes")) > 1 << 60
    assert "hard_limit" not in domain.XMLDesc()
    assert "500000" in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    # A limit below what the guest has: the kernel refuses it, and the former one holds.
    with pytest.raises(libvirt.libvirtError, match=r"memory.limit_in_bytes.*busy") as refusal:
        domain.setMemoryParameters({"hard_limit": 64})
    assert refusal.value.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR
    assert int(value("memory", group, "memory.limit_in_bytes")) > 1 << 60
    domain.destroy()
    assert not folders(group)


def test_memory_nodes_and_counters_change_while_the_guest_runs(daemon: Daemon, link: Any) -> None:
    restrictive = "<numatune><memory mode='restrictive' nodeset='0'/></numatune>"
    counted = "<perf><event name='task_clock' enabled='yes'/></perf>"
    domain = link.defineXML(idle("placed", top=restrictive + counted))
    domain.create()
    (pid,) = daemon.emulators()
    group = group_of(pid)
    assert value("cpuset", group, "vcpu0/cpuset.mems") == "0"
    domain.setNumaParameters({"numa_nodeset": "0"})
    with pytest.raises(libvirt.libvirtError, match="NUMA node 4000 is unavailable"):
        domain.setNumaParameters({"numa_nodeset": "4000"})
    with pytest.raises(libvirt.libvirtError, match="can't change numatune mode") as refusal:
        domain.setNumaParameters({"numa_mode": libvirt.VIR_DOMAIN_NUMATUNE_MEM_STRICT})
    assert refusal.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID

    domain.setPerfEvents({"page_faults": True})
    with pytest.raises(libvirt.libvirtError, match="perf event for cmt"):
        domain.setPerfEvents({"cmt": True, "cpu_clock": True})
    assert {name for name, on in domain.perfEvents().items() if on} == {"task_clock", "page_faults"}
    ((_, stats),) = link.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_PERF)
    assert set(stats) == {"perf.task_clock", "perf.page_faults"}
    assert stats["perf.task_clock"] > 0
    domain.setPerfEvents({"page_faults": False})
    assert "<event name='page_faults' enabled='no'/>" in domain.XMLDesc()
    (total,) = domain.getCPUStats(True)
    assert total["cpu_time"] > total["user_time"] > 0
    domain.destroy()
    interleaved = idle("spread", top="<numatune><memory mode='interleave' nodeset='0'/></numatune>")
    spread = link.createXML(interleaved)
    (pid,) = daemon.emulators()
    maps = Path(f"/proc/{pid}/numa_maps").read_text()
    assert "interleave:0" in maps
    spread.destroy()


def test_a_guest_opens_the_devices_that_it_is_given(daemon: Daemon, link: Any) -> None:
    """A hot-plugged character device is let through the filter, and shut out again."""
    domain = link.defineXML(idle("fenced"))
    domain.create()
    if "may open every device" in daemon.log.read_text():
        pytest.skip("this host lets us load no BPF program")
    assert 'filters_devices":true' in (daemon.root / "run/libvirt/qemu/fenced.xml").read_text()

    def opens(path: str) -> bool:
        command = {
            "execute": "chardev-add",
            "arguments": {
                "id": "probe",
                "backend": {"type": "file", "data": {"out": path, "append": True}},
            },
        }
        opened = "error" not in json.loads(
            daemon.ok("qemu-monitor-command", "fenced", json.dumps(command))
        )
        if opened:
            daemon.ok(
                "qemu-monitor-command",
                "fenced",
                '{"execute":"chardev-remove","arguments":{"id":"probe"}}',
            )
        return opened

    assert opens("/dev/null")
    assert not opens(DEVICE)
    port = (
        f"<channel type='dev'><source path='{DEVICE}'/><target type='virtio' name='k'/></channel>"
    )
    domain.attachDevice(port)
    assert opens(DEVICE)
    domain.destroy()


def test_the_group_outlives_the_worker_and_goes_with_the_guest(own: Daemon) -> None:
    connection = libvirt.open(own.uri)
    domain = connection.createXML(idle("kept", top=TUNE))
    (pid,) = own.emulators()
    group = group_of(pid)
    worker = next(row for row in own.status() if row["name"] == "qemu:kept")
    os.kill(int(worker["pid"]), signal.SIGKILL)

    def is_driven_again() -> bool:
        rows = [row for row in own.status() if row["name"] == "qemu:kept"]
        return bool(rows) and rows[0]["state"] == "running" and rows[0]["pid"] != worker["pid"]

    wait_until("another worker", is_driven_again)
    domain.setSchedulerParameters({"cpu_shares": 77})
    assert value("cpu", group, "cpu.shares") == "77"
    os.kill(pid, signal.SIGKILL)
    wait_until("the group's end", lambda: not folders(group))
    device = "<device><path>/dev/null</path><read_iops_sec>5</read_iops_sec></device>"
    refused = idle("refused", top=f"<blkiotune>{device}</blkiotune>")
    before = set(layout().hierarchies["cpu"].glob("virtvisor.slice/*refused*"))
    with pytest.raises(libvirt.libvirtError, match="must be a block device"):
        connection.createXML(refused)
    assert set(layout().hierarchies["cpu"].glob("virtvisor.slice/*refused*")) == before
    connection.close()
