"""Vhost-user devices: disks of qemu-storage-daemon, and interfaces of a switch of our own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from tests.clients.daemon import PATIENCE, Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import Watch
from tests.clients.guest import READY, Guest
from tests.clients.libvirt_binding import libvirt
from tests.clients.vhost_user_backend import Switch

STORAGE_DAEMON: Final = shutil.which("qemu-storage-daemon") or ""
SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
DISK = (
    "<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/>"
    "<source type='unix' path='{}'><reconnect enabled='yes' timeout='1'/></source>"
    "<target dev='{}' bus='virtio'/></disk>"
)
NET = (
    "<interface type='vhostuser'><mac address='52:54:00:00:00:{}'/>"
    "<source type='unix' path='{}' mode='client'/><model type='virtio'/></interface>"
)


def read_until_ready(domain: Any) -> None:
    """Wait until the guest has drivers, which hotplug and unplug take."""
    stream = domain.connect().newStream()
    domain.openConsole(None, stream)
    text = b""
    while READY.encode() not in text:
        text += stream.recv(4096)
    stream.abort()


pytestmark = pytest.mark.skipif(not STORAGE_DAEMON, reason="qemu-storage-daemon is not installed")


@pytest.fixture
def exported(tmp_path: Path) -> Iterator[Path]:
    """The socket of an image that a qemu-storage-daemon serves."""
    os.chmod(tmp_path, 0o755)
    image, path = tmp_path / "image", tmp_path / "disk.sock"
    image.write_bytes(bytes(1 << 20))
    export = f"vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path={path},writable=on"
    node = f"driver=file,node-name=n,filename={image}"
    command = [STORAGE_DAEMON, "--blockdev", node, "--export", export]
    process = subprocess.Popen(command)
    try:
        until = time.monotonic() + 10 * PATIENCE
        while not path.is_socket():
            assert time.monotonic() < until, "the image is not exported"
            time.sleep(0.02)
        os.chmod(path, 0o666)
        yield path
    finally:
        process.terminate()
        process.wait(10 * PATIENCE)


def test_a_guest_has_a_disk_of_another_process_and_keeps_it(
    daemon: Daemon, link: Any, exported: Path
) -> None:
    disk = DISK.format(exported, "vda")
    domain = link.createXML(idle("served", devices=disk, top=SHARED), 0)
    found = ElementTree.fromstring(domain.XMLDesc()).find("devices/disk")
    assert found is not None
    assert (found.get("snapshot"), found.find("source").get("path")) == ("no", str(exported))  # type: ignore[union-attr]
    tree = daemon.ok("qemu-monitor-command", "served", "--hmp", "info qtree")
    assert 'chardev = "chr-vu-virtio-disk0"' in tree
    worker = next(row["pid"] for row in daemon.status() if row["name"] == "qemu:served")
    os.kill(worker, signal.SIGKILL)
    assert domain.info()[0] == libvirt.VIR_DOMAIN_RUNNING
    domain.destroy()


def test_a_disk_of_another_process_comes_and_goes(
    daemon: Daemon, link: Any, exported: Path, tiny: Guest
) -> None:
    domain = link.createXML(booting("growing", tiny, top=SHARED), 0)
    read_until_ready(domain)
    domain.attachDevice(DISK.format(exported, "vdb"))
    listed = daemon.ok("qemu-monitor-command", "growing", "--hmp", "info chardev")
    assert "chr-vu-virtio-disk1" in listed
    removed = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)
    domain.detachDevice(DISK.format(exported, "vdb"))
    removed.expect("growing", "virtio-disk1")
    removed.close()
    left = daemon.ok("qemu-monitor-command", "growing", "--hmp", "info chardev")
    assert "chr-vu" not in left
    domain.destroy()


def test_a_disk_needs_memory_that_is_shared(link: Any, exported: Path) -> None:
    domain = link.createXML(idle("private"), 0)
    with pytest.raises(libvirt.libvirtError, match="requires shared memory") as refused:
        domain.attachDevice(DISK.format(exported, "vdb"))
    assert refused.value.get_error_code() == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
    domain.destroy()


def test_an_interface_of_a_switch_starts_and_is_attached(
    daemon: Daemon, link: Any, tmp_path: Path
) -> None:
    os.chmod(tmp_path, 0o755)
    path = tmp_path / "switch.sock"
    switch = Switch(path)
    domain = link.createXML(idle("switched", devices=NET.format("01", path), top=SHARED), 0)
    domain.attachDevice(NET.format("02", path))
    assert switch.connections == 2
    cards = daemon.ok("qemu-monitor-command", "switched", "--hmp", "info network")
    assert cards.count("type=vhost-user") == 2
    domain.destroy()
    switch.close()
