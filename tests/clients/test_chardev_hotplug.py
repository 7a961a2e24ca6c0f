"""Hotplug of channels and serial ports, by stock clients."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import Watch
from tests.clients.libvirt_binding import libvirt

CHANNEL = "<channel type='unix'><target type='virtio' name='org.test.0'/></channel>"


def test_an_attached_channel_gets_a_controller_and_a_socket(daemon: Daemon, link: Any) -> None:
    domain = link.createXML(idle("talking"), 0)
    added = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED)
    domain.attachDevice(CHANNEL)
    added.expect("talking", "channel0")
    added.close()
    tree = ElementTree.fromstring(domain.XMLDesc())
    assert tree.find("devices/controller[@type='virtio-serial']") is not None
    source = tree.find("devices/channel/source")
    assert source is not None
    path = Path(source.get("path", ""))
    assert path.name == "org.test.0"
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert "charchannel0" in daemon.ok("qemu-monitor-command", "talking", "--hmp", "info chardev")


def test_a_detached_channel_is_removed_with_its_socket(daemon: Daemon, link: Any) -> None:
    domain = link.createXML(idle("parting", devices=CHANNEL), 0)
    removed = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)
    domain.detachDevice(CHANNEL)
    removed.expect("parting", "channel0")
    removed.close()
    assert ElementTree.fromstring(domain.XMLDesc()).find("devices/channel") is None
    left = daemon.ok("qemu-monitor-command", "parting", "--hmp", "info chardev")
    assert "charchannel0" not in left


def test_an_attached_serial_port_has_a_pty(daemon: Daemon, link: Any) -> None:
    domain = link.createXML(idle("serial"), 0)
    domain.attachDevice("<serial type='pty'><target type='pci-serial' port='1'/></serial>")
    lines = ElementTree.fromstring(domain.XMLDesc()).findall("devices/serial")
    assert len(lines) == 2
    source = lines[1].find("source")
    assert source is not None
    assert source.get("path", "").startswith("/dev/pts/")


def test_a_channel_that_qemu_refuses_leaves_nothing(daemon: Daemon, link: Any) -> None:
    domain = link.createXML(idle("whole"), 0)
    before = domain.XMLDesc()
    bad = CHANNEL.replace("<target", "<source mode='bind' path='/nonesuch/x'/><target")
    with pytest.raises(libvirt.libvirtError):
        domain.attachDevice(bad)
    assert domain.XMLDesc() == before
    left = daemon.ok("qemu-monitor-command", "whole", "--hmp", "info chardev")
    assert "channel" not in left
    assert "virtio-serial" not in daemon.ok("qemu-monitor-command", "whole", "--hmp", "info qtree")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's QEMU has a user of its own")
def test_sockets_in_folders_of_the_host_are_made_for_qemu(link: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="vv") as folder:
        place = Path(folder)
        place.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as earlier:  # of a guest that was killed
            earlier.bind(str(place / "first"))

        def channel(name: str) -> str:
            source = f"<source mode='bind' path='{place / name}'/>"
            return CHANNEL.replace("<target", f"{source}<target").replace("test.0", name)

        domain = link.createXML(idle("served", devices=channel("first")), 0)
        domain.attachDevice(channel("second"))
        for name in ("first", "second"):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(place / name))
            assert (place / name).stat().st_uid != os.getuid()
        removed = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)
        domain.detachDevice(channel("second"))
        removed.expect("served", "channel1")
        removed.close()
        assert [path.name for path in place.iterdir()] == ["first"]
        domain.destroy()
        assert list(place.iterdir()) == []
