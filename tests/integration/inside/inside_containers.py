"""Containers on a full kernel with version 2 of cgroups alone, and a whole Debian."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes
from tests.clients.containers import container
from tests.clients.debian_console import (
    BOOT_S,
    INTERFACE,
    NETWORK,
    addresses,
    failed,
    login,
    run_command,
)
from tests.clients.debian_root import debian_root
from tests.clients.event_watch import Watch, wait_until
from tests.clients.libvirt_binding import libvirt

SHAPE = {"cpus": 2, "debian": True}
PACKAGES = {
    "/usr/bin/virsh": "libvirt-clients",
    "/usr/bin/lxc-start": "lxc",
    "/usr/bin/busybox": "busybox-static",
    "/usr/sbin/dnsmasq": "dnsmasq-base",
    "/usr/sbin/iptables": "iptables",
    "/usr/sbin/debootstrap": "debootstrap",
}
GROUPS = Path("/sys/fs/cgroup/virtvisor.slice")
LIMITS = (
    "<memtune><hard_limit unit='MiB'>48</hard_limit></memtune>"
    "<cputune><shares>300</shares><period>50000</period><quota>25000</quota></cputune>"
)


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    """A daemon of containers."""
    with boxes() as held:
        yield held


def group(name: str) -> Path:
    found = [path for path in GROUPS.glob(f"lxc-{name}-*") if not path.name.endswith(".monitor")]
    assert len(found) == 1
    return found[0]


def test_limits_hold_and_processes_stand_still_in_version_2(box: Boxes) -> None:
    xml = container("two", box.rootfs).replace("<vcpu>1</vcpu>", f"<vcpu>1</vcpu>{LIMITS}")
    domain = box.link.createXML(xml)
    folder = group("two")
    assert (folder / "memory.max").read_text().strip() == str(48 << 20)
    assert (folder / "cpu.weight").read_text().strip() == "300"
    assert (folder / "cpu.max").read_text().strip() == "25000 50000"
    domain.suspend()
    assert "frozen 1" in (folder / "cgroup.events").read_text()
    domain.resume()
    assert "frozen 0" in (folder / "cgroup.events").read_text()
    domain.setMemoryParameters({"hard_limit": 65536}, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert (folder / "memory.max").read_text().strip() == str(64 << 20)
    assert domain.memoryStats()["rss"] > 0
    assert domain.getCPUStats(True)[0]["cpu_time"] > 0
    domain.suspend()
    domain.destroy()
    assert list(GROUPS.glob("lxc-two-*")) == []


def test_memory_beyond_the_limit_ends_its_user_alone(box: Boxes) -> None:
    greedy = box.rootfs / "sbin/greedy"
    greedy.write_text("#!/bin/sh\ntail /dev/zero\nwhile :; do sleep 9; done\n")
    greedy.chmod(0o755)
    xml = container("hungry", box.rootfs, init="/sbin/greedy")
    domain = box.link.createXML(xml.replace("<vcpu>1</vcpu>", f"<vcpu>1</vcpu>{LIMITS}"))
    events = group("hungry") / "memory.events"
    wait_until("a process was killed", lambda: "oom_kill 0" not in events.read_text(), 120)
    assert domain.isActive()
    domain.destroy()


def test_devices_are_refused_but_those_that_are_given(box: Boxes) -> None:
    clock = "/dev/rtc0"
    device = (
        f"<hostdev mode='capabilities' type='misc'><source><char>{clock}</char></source></hostdev>"
    )
    domain = box.link.createXML(container("nodes", box.rootfs))
    box.shell("nodes", "head -c 1 < /dev/zero > /dev/null")
    domain.attachDevice(device)
    assert "opened" in box.as_root("nodes", f": < {clock} && echo opened")
    domain.detachDevice(device)
    assert "rtc0" not in box.as_root("nodes", "ls /dev")
    domain.destroy()
    domain = box.link.createXML(container("makes", box.rootfs, idmap=""))
    made = "mknod /tmp/clock c 252 0; : < /tmp/clock && echo opened"
    assert "opened" not in box.as_root("makes", made, check=False)
    domain.destroy()


@pytest.fixture(scope="module")
def debian(box: Boxes) -> Iterator[Any]:
    """A Debian that runs; what it writes stays in this machine's memory."""
    network = box.link.networkCreateXML(NETWORK)
    xml = container("debian", debian_root(), extra=INTERFACE).replace("'MiB'>128", "'MiB'>256")
    domain = box.link.defineXML(xml)
    domain.create()
    yield domain
    if domain.isActive():
        domain.destroy()
    network.destroy()


def test_a_debian_boots_and_has_its_address_by_dhcp(box: Boxes, debian: Any) -> None:
    with login(box) as console:
        assert "systemd" in run_command(console, "cat /proc/1/comm")
        assert "cgroup2" in run_command(console, "stat -f -c %T /sys/fs/cgroup")
        assert failed(console) == []
        wait_until("it has an address", lambda: bool(addresses(console)), BOOT_S)
        assert ", 0% packet loss" in run_command(console, "ping -c 2 10.88.0.1")


def test_a_debian_is_held_by_the_limits_of_its_group(box: Boxes, debian: Any) -> None:
    debian.setMemoryParameters({"hard_limit": 200 << 10}, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    with login(box) as console:
        assert run_command(console, "(tail /dev/zero); echo status $?").split()[-1] == "137"
        assert run_command(console, "systemctl is-active systemd-journald").strip() == "active"
    events = (group("debian") / "memory.events").read_text()
    assert "oom_kill 0" not in events


def test_a_debian_reboots_and_shuts_down_in_order(box: Boxes, debian: Any) -> None:
    rebooted = Watch(box.link, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    box.virsh("reboot", "debian")
    rebooted.wait_for("debian")
    rebooted.close()
    with login(box) as console:
        assert failed(console) == []
    box.virsh("shutdown", "debian")
    wait_until("it is off", lambda: not debian.isActive(), BOOT_S)
    assert debian.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]
    assert list(GROUPS.glob("lxc-debian-*")) == []
