"""Containers that reboot by themselves keep live changes, whichever process is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes, groups
from tests.clients.containers import container
from tests.clients.event_watch import Watch, wait_until
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

BRIDGE = (
    "<network><name>plain</name><bridge name='virbr9' stp='off' delay='0'/>"
    "<ip address='10.89.0.1' netmask='255.255.255.0'/></network>"
)
LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


def interface(number: int) -> str:
    """An interface whose MAC address ends in that number."""
    return (
        f"<interface type='network'><mac address='52:54:00:00:89:0{number}'/>"
        f"<source network='plain'/><guest dev='net{number}'/></interface>"
    )


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        network = held.link.networkCreateXML(BRIDGE)
        yield held
        held.end_all()
        network.destroy()


def reboot(box: Boxes, name: str) -> None:
    """Reboot a container from within, and wait until it runs again."""
    watch = Watch(box.link, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    box.link.lookupByName(name).reboot()
    watch.wait_for(name)
    watch.close()


def monitor_of(box: Boxes, name: str) -> int:
    """The process number of liblxc's monitor of a container."""
    return int((box.daemon.root / f"run/libvirt/lxc/{name}.pid").read_text())


def gone(pid: int) -> bool:
    """Whether a process has exited, or is exiting."""
    path = Path(f"/proc/{pid}/stat")
    return not path.exists() or path.read_text().rpartition(") ")[2][0] in "ZX"


def test_attached_and_detached_devices_are_the_same_after_a_reboot(box: Boxes) -> None:
    xml = container("cards", box.rootfs, init="/sbin/rebooting", extra=interface(1) + interface(2))
    domain = box.link.createXML(xml)
    domain.attachDevice(interface(3))
    domain.detachDevice(interface(1))
    reboot(box, "cards")
    seen = box.inside("cards", "/bin/ip", "-o", "link")
    assert "net1" not in seen
    assert "net2@" in seen
    assert "net3@" in seen
    live = box.link.lookupByName("cards").XMLDesc()
    assert "89:01" not in live
    assert "89:03" in live
    box.link.lookupByName("cards").destroy()


def test_live_limits_hold_after_a_reboot(box: Boxes) -> None:
    domain = box.link.createXML(container("limits", box.rootfs, init="/sbin/rebooting"))
    domain.setMemoryParameters({"hard_limit": 96 << 10}, LIVE)
    domain.setSchedulerParametersFlags({"cpu_shares": 300}, LIVE)
    reboot(box, "limits")
    domain = box.link.lookupByName("limits")
    assert domain.memoryParameters(LIVE)["hard_limit"] == 96 << 10
    assert domain.schedulerParametersFlags(LIVE)["cpu_shares"] == 300
    domain.destroy()


def test_a_container_reboots_while_no_worker_runs(box: Boxes) -> None:
    domain = box.link.createXML(container("unseen", box.rootfs, init="/sbin/rebooting"))
    worker, monitor = box.worker("unseen"), monitor_of(box, "unseen")
    os.kill(worker, signal.SIGSTOP)
    (init,) = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    os.kill(int(init), signal.SIGHUP)
    wait_until("its monitor has exited", lambda: gone(monitor))
    os.kill(worker, signal.SIGKILL)

    def runs_again() -> bool:
        path = box.daemon.root / "run/libvirt/lxc/unseen.pid"
        return path.exists() and monitor_of(box, "unseen") != monitor

    wait_until("it runs again", runs_again)
    wait_until("it is known to", lambda: bool(box.worker("unseen")))
    assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    assert box.inside("unseen", "/bin/echo", "here").strip() == "here"
    domain.destroy()


def test_a_container_that_cannot_restart_is_shut_off_and_leaves_nothing(box: Boxes) -> None:
    root = box.rootfs.parent / "moved"
    box.rootfs.rename(root)
    try:
        watch = Watch(box.link)
        domain = box.link.defineXML(container("stuck", root, init="/sbin/rebooting"))
        domain.create()
        root.rename(box.rootfs)
        domain.reboot()
        watch.wait_for("stuck", libvirt.VIR_DOMAIN_EVENT_STOPPED, 5)
        watch.close()
    finally:
        if not box.rootfs.exists():
            root.rename(box.rootfs)
    assert domain.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED]
    assert groups("stuck") == []
    assert not (box.daemon.root / "run/libvirt/lxc/stuck.d").exists()
    domain.undefine()


@pytest.mark.parametrize("action", ["destroy", "preserve"])
def test_on_reboot_is_obeyed_when_the_container_reboots(box: Boxes, action: str) -> None:
    xml = container("once", box.rootfs, init="/sbin/rebooting")
    xml = xml.replace("<devices>", f"<on_reboot>{action}</on_reboot><devices>")
    domain = box.link.defineXML(xml)
    domain.create()
    domain.reboot()
    wait_until("it is off", lambda: not domain.isActive())
    assert domain.state()[1] == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN
    domain.undefine()


def test_destroying_a_container_during_a_reboot_stops_it(box: Boxes) -> None:
    domain = box.link.defineXML(container("ended", box.rootfs, init="/sbin/rebooting"))
    for _ in range(3):
        domain.create()
        monitor = monitor_of(box, "ended")
        (init,) = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
        os.kill(int(init), signal.SIGHUP)
        wait_until("its monitor has exited", partial(gone, monitor))
        assert ends(domain)
        assert not domain.isActive()
        assert groups("ended") == []
    domain.undefine()


def ends(domain: Any) -> bool:
    """End a domain; one that is off already has ended."""
    try:
        domain.destroy()
    except libvirt.libvirtError as refused:
        return bool(refused.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID)
    return True
