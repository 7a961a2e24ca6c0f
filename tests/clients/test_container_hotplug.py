"""Hotplug of containers: attach, update and detach, live, in the definition, interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes
from tests.clients.containers import container
from tests.clients.event_watch import wait_until
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
BOTH = LIVE | CONFIG
PRIVATE = "<features><privnet/></features>"
NODE = (
    "<hostdev mode='capabilities' type='misc'><source><char>/dev/loop-control</char></source>"
    "</hostdev>"
)


def interface(number: int, elements: str = "") -> str:
    """An interface on the host's bridge."""
    return (
        f"<interface type='bridge'><mac address='52:54:00:00:93:0{number}'/>"
        f"<source bridge='br-plug'/><target dev='plug{number}'/>{elements}</interface>"
    )


def links() -> set[str]:
    """The network devices of the daemon's host."""
    done = subprocess.run(
        ["ip", "-o", "link"], capture_output=True, text=True, check=True, timeout=20
    )
    return {line.split(": ")[1].partition("@")[0] for line in done.stdout.splitlines()}


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        for words in (("add", "br-plug", "type", "bridge"), ("set", "br-plug", "up")):
            subprocess.run(["ip", "link", *words], check=True, timeout=20)
        yield held


@pytest.fixture(autouse=True)
def every_link_is_back(box: Boxes) -> Iterator[None]:
    before = links()
    yield
    box.end_all()
    wait_until("the host has its previous links", lambda: links() == before)


def run(box: Boxes, name: str, extra: str = "") -> Any:
    xml = container(name, box.rootfs, extra=extra).replace("<devices>", f"{PRIVATE}<devices>")
    domain = box.link.defineXML(xml)
    domain.create()
    return domain


def test_devices_are_attached_to_and_detached_from_the_definition(box: Boxes) -> None:
    domain = run(box, "config")
    for device in (interface(1), NODE):
        domain.attachDeviceFlags(device, CONFIG)
    assert "interface" not in domain.XMLDesc()
    assert "loop-control" not in domain.XMLDesc()
    domain.destroy()
    domain.create()
    assert "52:54:00:00:93:01" in box.inside("config", "/bin/ip", "link")
    assert "loop-control" in box.inside("config", "/bin/ls", "/dev")
    for device in (interface(1), NODE):
        domain.detachDeviceFlags(device, BOTH)
    assert "52:54:00:00:93:01" not in box.inside("config", "/bin/ip", "link")
    assert "loop-control" not in box.inside("config", "/bin/ls", "/dev")
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert "interface" not in xml
    assert "loop-control" not in xml


def test_attaching_a_duplicate_device_is_refused(box: Boxes) -> None:
    domain = run(box, "twice", NODE)
    for flags in (LIVE, CONFIG):
        with pytest.raises(libvirt.libvirtError, match="already") as refused:
            domain.attachDeviceFlags(NODE, flags)
        assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
    box.as_root("twice", ": < /dev/loop-control")
    assert domain.XMLDesc().count("<hostdev") == 1


def test_a_device_with_a_second_path_stays_accessible_after_a_detach(
    box: Boxes, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"word".ljust(1 << 20, b"\0"))
    found = subprocess.run(
        ["losetup", "--find", "--show", str(image)],
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    device = found.stdout.strip()
    disk = "<disk type='block' device='disk'><source dev='{}'/><target dev='{}'/></disk>"
    try:
        domain = run(box, "names", disk.format(device, "vdb"))
        domain.attachDevice(disk.format(device, "vdc"))
        domain.detachDevice(disk.format(device, "vdc"))
        assert "word" in box.as_root("names", "head -c 4 /dev/vdb")
        domain.detachDevice(disk.format(device, "vdb"))
        assert "vdb" not in box.as_root("names", "ls /dev")
    finally:
        box.end_all()
        subprocess.run(["losetup", "--detach", device], check=True, timeout=20)


def test_an_attached_interface_has_mtu_link_state_routes_and_statistics(box: Boxes) -> None:
    elements = (
        "<mtu size='1400'/><guest dev='lan'/><ip address='10.96.0.5' family='ipv4' prefix='24'/>"
        "<route family='ipv4' address='192.0.2.0' prefix='24' gateway='10.96.0.1'/>"
    )
    domain = run(box, "told")
    domain.attachDevice(interface(2, elements))
    assert "mtu 1400" in box.inside("told", "/bin/ip", "link", "show", "lan")
    assert "192.0.2.0/24 via 10.96.0.1 dev lan" in box.inside("told", "/bin/ip", "route")
    assert "52:54:00:00:93:02" in box.virsh("domiflist", "told")
    assert "rx_bytes" in box.virsh("domifstat", "told", "plug2")
    down = interface(2, elements + "<link state='down'/>")
    domain.updateDeviceFlags(down, LIVE)
    assert "M-DOWN" in box.inside("told", "/bin/ip", "link", "show", "lan")
    assert "down" in box.virsh("domif-getlink", "told", "plug2")
    domain.updateDeviceFlags(interface(2, elements), LIVE)
    assert "LOWER_UP" in box.inside("told", "/bin/ip", "link", "show", "lan")
    with pytest.raises(libvirt.libvirtError, match="guest"):
        domain.updateDeviceFlags(interface(2, elements.replace("lan", "wan")), LIVE)
    domain.updateDeviceFlags(interface(2, elements), LIVE)
    domain.detachDevice(interface(2))
    assert "plug2" not in links()


def test_a_device_whose_attach_a_killed_worker_began_can_be_detached(box: Boxes) -> None:
    domain = run(box, "half")
    worker = box.worker("half")
    (netd,) = [int(row["pid"]) for row in box.daemon.status() if row["name"] == "netd"]
    refused: list[libvirt.libvirtError] = []

    def attach() -> None:
        try:
            domain.attachDevice(interface(3))
        except libvirt.libvirtError as error:
            refused.append(error)

    waiting = threading.Thread(target=attach)
    os.kill(netd, signal.SIGSTOP)
    try:
        waiting.start()
        status = box.daemon.root / "run/libvirt/lxc/half.xml"
        wait_until("it is begun", lambda: "93:03" in status.read_text())
        os.kill(worker, signal.SIGKILL)
    finally:
        os.kill(netd, signal.SIGCONT)
    waiting.join(30)
    assert refused
    wait_until("another takes over", lambda: box.worker("half") not in (0, worker))
    assert "93:03" in domain.XMLDesc()
    domain.detachDevice(interface(3))
    assert "<interface" not in domain.XMLDesc()
    wait_until("no interface is left", lambda: "plug3" not in links())
    domain.attachDevice(interface(3))
    assert "52:54:00:00:93:03" in box.inside("half", "/bin/ip", "link")


def test_a_missing_usb_device_is_named_or_dropped_by_its_startup_policy(box: Boxes) -> None:
    device = (
        "<hostdev mode='subsystem' type='usb'><source{}><vendor id='0x0951'/>"
        "<product id='0xfffe'/></source></hostdev>"
    )
    if not Path("/sys/bus/usb/devices").is_dir():
        # As with libvirt, a kernel without USB is an error, whatever the policy is.
        with pytest.raises(libvirt.libvirtError, match="cannot open directory '/sys/bus/usb"):
            box.link.createXML(container("stick", box.rootfs, extra=device.format("")))
        return
    with pytest.raises(libvirt.libvirtError, match="Did not find USB device 0951:fffe"):
        box.link.createXML(container("stick", box.rootfs, extra=device.format("")))
    optional = device.format(" startupPolicy='optional'")
    domain = box.link.createXML(container("stick", box.rootfs, extra=optional))
    assert "hostdev" not in domain.XMLDesc()
    with pytest.raises(libvirt.libvirtError, match="Did not find USB device 0951:fffe"):
        domain.attachDevice(device.format(""))
    assert "hostdev" not in domain.XMLDesc()
