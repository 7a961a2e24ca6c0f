"""Attach, update and detach of devices, live and in the definition, by stock clients."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import Watch
from tests.clients.guest import READY, Guest
from tests.clients.libvirt_binding import libvirt

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
INTERFACE = (
    "<interface type='user'><mac address='52:54:00:00:00:{number:02x}'/><model type='virtio'/>"
    "</interface>"
)
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
SCSI = "<controller type='scsi' model='virtio-scsi'/>"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty image that QEMU's user may reach."""
    path = tmp_path / "more.qcow2"
    subprocess.run(
        ["/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", str(path), "8M"], check=True
    )
    return path


def disk(image: Path, target: str, bus: str) -> str:
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        f"<source file='{image}'/><target dev='{target}' bus='{bus}'/></disk>"
    )


def devices(domain: Any, path: str, flags: int = 0) -> list[ElementTree.Element]:
    return ElementTree.fromstring(domain.XMLDesc(flags)).findall(f"devices/{path}")


def test_an_interface_is_attached_live_and_to_the_definition(link: Any) -> None:
    domain = link.defineXML(idle("growing"))
    domain.create()
    added = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED)
    domain.attachDeviceFlags(INTERFACE.format(number=1), LIVE | CONFIG)
    added.expect("growing", "net0")
    (interface,) = devices(domain, "interface")
    alias, address = interface.find("alias"), interface.find("address")
    assert alias is not None
    assert alias.get("name") == "net0"
    assert address is not None
    assert address.get("type") == "pci"
    assert len(devices(domain, "interface", libvirt.VIR_DOMAIN_XML_INACTIVE)) == 1
    domain.attachDevice(INTERFACE.format(number=2))
    assert len(devices(domain, "interface")) == 2
    assert len(devices(link.lookupByName("growing"), "interface")) == 2
    added.expect("growing", "net1")
    added.close()


def test_affect_config_changes_only_the_definition() -> None:
    with Daemon() as daemon:
        link = libvirt.open(daemon.uri)
        domain = link.defineXML(idle("planned"))
        domain.attachDeviceFlags(RNG, CONFIG)
        domain.attachDeviceFlags(INTERFACE.format(number=3), CONFIG)
        assert len(devices(domain, "rng")) == 1
        domain.detachDeviceFlags(RNG, CONFIG)
        assert not devices(domain, "rng")
        link.close()
        daemon.kill()
        daemon.start()
        link = libvirt.open(daemon.uri)
        domain = link.lookupByName("planned")
        assert not devices(domain, "rng")
        assert len(devices(domain, "interface")) == 1
        link.close()


def test_a_disk_is_attached_and_detached(daemon: Daemon, link: Any, image: Path) -> None:
    domain = link.defineXML(idle("storing", devices=SCSI))
    domain.create()
    owner = image.stat().st_uid
    removed = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)
    daemon.ok(
        "attach-disk", "storing", str(image), "sda", "--targetbus", "scsi", "--subdriver", "qcow2"
    )
    assert "sda" in daemon.ok("domblklist", "storing")
    with pytest.raises(libvirt.libvirtError, match="sda already exists"):
        domain.attachDevice(disk(image, "sda", "scsi"))
    daemon.ok("detach-disk", "storing", "sda")
    removed.expect("storing", "scsi0-0-0-0")
    assert not devices(domain, "disk")
    assert image.stat().st_uid == owner
    nodes = daemon.ok("qemu-monitor-command", "storing", '{"execute":"query-named-block-nodes"}')
    assert "libvirt-" not in nodes
    daemon.ok("attach-disk", "storing", str(image), "sda", "--targetbus", "scsi")
    removed.close()


def test_a_running_linux_releases_detached_devices(
    daemon: Daemon, link: Any, image: Path, tiny: Guest
) -> None:
    domain = link.defineXML(booting("letting", tiny))
    domain.create()
    wait_for_boot(link, domain)
    removed = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)
    domain.attachDevice(disk(image, "vda", "virtio"))
    domain.attachDevice(INTERFACE.format(number=4))
    domain.attachDevice(RNG)
    daemon.ok("detach-disk", "letting", "vda")
    removed.wait_for("letting", "virtio-disk0")
    domain.detachDeviceAlias("net0", 0)
    removed.wait_for("letting", "net0")
    domain.detachDevice(RNG)
    removed.wait_for("letting", "rng0")
    for kind in ("disk", "interface", "rng"):
        assert not devices(domain, kind)
    removed.close()


def wait_for_boot(link: Any, domain: Any) -> None:
    """Read the guest's console until it is up."""
    stream = link.newStream()
    domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    text = b""
    while READY.encode() not in text:
        received = stream.recv(4096)
        assert received, text
        text += received
    stream.abort()


def test_the_medium_of_a_drive_is_changed_and_ejected(
    daemon: Daemon, link: Any, tmp_path: Path, image: Path
) -> None:
    first, second = image.with_name("first.iso"), image.with_name("second.iso")
    for path in (first, second):
        path.write_bytes(bytes(1 << 20))
    drive = (
        f"<disk type='file' device='cdrom'><source file='{first}'/>"
        "<target dev='hda' bus='ide'/><readonly/></disk>"
    )
    link.defineXML(idle("playing", devices=drive)).create()
    assert str(first) in daemon.ok("domblklist", "playing")
    daemon.ok("change-media", "playing", "hda", str(second), "--live")
    assert str(second) in daemon.ok("domblklist", "playing")
    daemon.ok("change-media", "playing", "hda", "--eject", "--live")
    assert daemon.ok("domblklist", "playing").split()[-2:] == ["hda", "-"]
    daemon.ok("change-media", "playing", "hda", str(first), "--update", "--live", "--config")
    assert str(first) in daemon.ok("domblklist", "playing")
    medium = drive.replace(str(first), str(second))
    link.lookupByName("playing").attachDevice(medium)
    assert str(second) in daemon.ok("domblklist", "playing")
    with pytest.raises(libvirt.libvirtError, match="target hda already exists"):
        link.lookupByName("playing").attachDeviceFlags(medium, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def test_the_link_of_an_interface_is_set_down_and_up(daemon: Daemon, link: Any) -> None:
    domain = link.defineXML(idle("linked", devices=INTERFACE.format(number=5)))
    domain.create()
    mac = "52:54:00:00:00:05"
    daemon.ok("domif-setlink", "linked", mac, "down")
    assert daemon.ok("domif-getlink", "linked", mac).split()[-1] == "down"
    daemon.ok("domif-setlink", "linked", mac, "up")
    assert daemon.ok("domif-getlink", "linked", mac).split()[-1] == "up"


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("<nonesuch/>", "unknown device type"),
        ("<disk type='file'><target dev='vda' bus='virtio'/>", "."),
        ("<sound model='ac97'/>", "sound.*cannot be attached live"),
        ("<memballoon model='virtio'/>", "memballoon"),
    ],
)
def test_a_refused_attach_names_the_device_and_leaves_nothing(
    link: Any, xml: str, words: str
) -> None:
    domain = link.createXML(idle("steady"), 0)
    before = domain.XMLDesc()
    with pytest.raises(libvirt.libvirtError, match=words):
        domain.attachDevice(xml)
    with pytest.raises(libvirt.libvirtError):
        domain.detachDevice(INTERFACE.format(number=9))
    assert domain.XMLDesc() == before


def test_an_attach_that_qemu_refuses_leaves_nothing(daemon: Daemon, link: Any) -> None:
    domain = link.createXML(idle("picky", devices=SCSI), 0)
    before = domain.XMLDesc()
    with pytest.raises(libvirt.libvirtError, match="nothing-here"):
        domain.attachDevice(disk(Path("/tmp/nothing-here"), "sda", "scsi"))
    assert domain.XMLDesc() == before
    nodes = daemon.ok("qemu-monitor-command", "picky", '{"execute":"query-named-block-nodes"}')
    assert "libvirt-" not in nodes
