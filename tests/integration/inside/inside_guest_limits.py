"""A QEMU's cgroup on a full kernel with version 2 of cgroups alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import EventLoop, wait_until
from tests.clients.libvirt_binding import libvirt

SHAPE = {"cpus": 2}
PACKAGES = {"/usr/bin/virsh": "libvirt-clients", "/usr/bin/qemu-system-x86_64": "qemu-system-x86"}
ROOT = Path("/sys/fs/cgroup")
TUNE = (
    "<iothreads>1</iothreads><cputune><shares>300</shares><quota>40000</quota>"
    "<global_quota>150000</global_quota><emulator_quota>50000</emulator_quota>"
    "<vcpupin vcpu='0' cpuset='1'/></cputune>"
    "<memtune><soft_limit unit='KiB'>500000</soft_limit></memtune>"
    "<numatune><memory mode='strict' nodeset='0'/></numatune>"
)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon of one guest."""
    EventLoop.start()
    with Daemon() as running:
        yield running


def group_of(pid: int) -> Path:
    (line,) = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return ROOT / line.removeprefix("0::/")


def test_limits_devices_and_adoption_in_version_2(daemon: Daemon) -> None:
    link = libvirt.open(daemon.uri)
    domain = link.createXML(idle("two", top=TUNE))
    (pid,) = daemon.emulators()
    group = group_of(pid).parent  # its main thread is in the emulator's
    assert group.parent == ROOT / "virtvisor.slice"

    def value(file: str) -> str:
        return (group / file).read_text().strip()

    assert value("cpu.weight") == "300"
    assert value("cpu.max") == "150000 100000"
    assert value("memory.high") == str(500000 * 1024)
    assert value("emulator/cpu.max") == "50000 100000"
    assert value("vcpu0/cpu.max") == "40000 100000"
    assert value("vcpu0/cpuset.cpus") == "1"
    assert value("vcpu0/cpuset.mems") == "0"
    threads = {
        (task / "comm").read_text().strip(): group_of(int(task.name)).name
        for task in Path(f"/proc/{pid}/task").iterdir()
    }
    assert threads["CPU 0/TCG"] == "vcpu0"
    assert threads["IO iothread1"] == "iothread1"

    domain.setSchedulerParameters({"cpu_shares": 77, "vcpu_quota": 60000})
    assert (value("cpu.weight"), value("vcpu0/cpu.max")) == ("77", "60000 100000")
    found = domain.schedulerParameters()
    assert (found["cpu_shares"], found["vcpu_quota"], found["global_quota"]) == (77, 60000, 150000)
    domain.setMemoryParameters({"hard_limit": 800000, "swap_hard_limit": 900000})
    assert value("memory.max") == str(800000 * 1024)
    assert domain.memoryParameters()["swap_hard_limit"] == 900000
    domain.pinVcpu(0, (True, False))
    assert value("vcpu0/cpuset.cpus") == "0"
    (total,) = domain.getCPUStats(True)
    assert total["cpu_time"] > 0

    status = daemon.root / "run/libvirt/qemu/two.xml"
    assert 'filters_devices":true' in status.read_text()
    worker = next(row for row in daemon.status() if row["name"] == "qemu:two")
    os.kill(int(worker["pid"]), signal.SIGKILL)
    wait_until(
        "another worker",
        lambda: any(
            row["name"] == "qemu:two" and row["state"] == "running" and row["pid"] != worker["pid"]
            for row in daemon.status()
        ),
    )
    domain.setSchedulerParameters({"cpu_shares": 78})
    assert value("cpu.weight") == "78"
    domain.destroy()
    assert not group.exists()
    link.close()
