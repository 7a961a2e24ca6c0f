"""Host devices in containers with an idmap: nodes are created, used and removed."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.container_daemon import Boxes, boxes
from tests.clients.containers import container
from tests.clients.event_watch import Watch
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

#: Root alone may read it on the host: who reads it inside was given it.
NODE = "/dev/loop-control"
MISC = f"<hostdev mode='capabilities' type='misc'><source><char>{NODE}</char></source></hostdev>"
READ = f": < {NODE} && echo read"


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        yield held


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A block device of the host: a loop device with a word at its begin."""
    image = tmp_path / "image"
    image.write_bytes(b"word".ljust(1 << 20, b"\0"))
    found = subprocess.run(
        ["losetup", "--find", "--show", str(image)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    device = found.stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True, timeout=20)


def disk_xml(device: str, extra: str = "") -> str:
    """A block device as a disk of a container."""
    source = f"<source dev='{device}'/>"
    return f"<disk type='block' device='disk'>{source}<target dev='vdb'/>{extra}</disk>"


def test_a_container_s_root_reads_a_hostdev_of_its_xml(box: Boxes) -> None:
    domain = box.link.createXML(container("named", box.rootfs, extra=MISC))
    assert "read" in box.as_root("named", READ)
    mounts = Path("/proc/self/mounts").read_text()
    assert "named.d/nodes" in mounts
    domain.destroy()
    assert "named.d/nodes" not in Path("/proc/self/mounts").read_text()


def test_a_device_is_attached_and_detached_while_a_container_runs(box: Boxes) -> None:
    domain = box.link.createXML(container("comes", box.rootfs))
    assert "read" not in box.as_root("comes", READ, check=False)
    domain.attachDevice(MISC)
    assert "read" in box.as_root("comes", READ)
    with pytest.raises(libvirt.libvirtError):
        domain.attachDevice(MISC)
    domain.detachDevice(MISC)
    assert Path(NODE).name not in box.as_root("comes", "ls /dev")
    assert "hostdev" not in domain.XMLDesc()
    domain.attachDevice(MISC)
    assert "read" in box.as_root("comes", READ)
    domain.destroy()


def test_a_read_only_disk_cannot_be_written(box: Boxes, disk: str) -> None:
    domain = box.link.createXML(container("disks", box.rootfs))
    domain.attachDevice(disk_xml(disk, "<readonly/>"))
    assert "word" in box.as_root("disks", "head -c 4 /dev/vdb")
    told = box.as_root("disks", "echo new > /dev/vdb || echo refused", check=False)
    assert "refused" in told
    domain.detachDevice(disk_xml(disk))
    domain.attachDevice(disk_xml(disk))
    box.as_root("disks", "echo -n new. > /dev/vdb; sync")
    assert Path(disk).read_bytes()[:4] == b"new."
    domain.destroy()


def test_an_attached_device_is_present_after_a_reboot(box: Boxes) -> None:
    xml = container("stays", box.rootfs, init="/sbin/rebooting")
    domain = box.link.createXML(xml)
    domain.attachDevice(MISC)
    watch = Watch(box.link, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    domain.reboot()
    watch.wait_for("stays")
    watch.close()
    assert "read" in box.as_root("stays", READ)
    box.link.lookupByName("stays").destroy()


def test_a_device_whose_node_the_container_removed_can_be_detached(box: Boxes) -> None:
    domain = box.link.createXML(container("removes", box.rootfs))
    domain.attachDevice(MISC)
    box.as_root("removes", f"/bin/busybox umount {NODE} && /bin/busybox rm {NODE}")
    domain.detachDevice(MISC)
    assert "hostdev" not in domain.XMLDesc()
    domain.destroy()


def test_a_symlink_in_a_container_s_dev_is_not_followed(box: Boxes) -> None:
    domain = box.link.createXML(container("links", box.rootfs))
    outside = box.rootfs.parent / "outside"
    outside.mkdir()
    box.as_root("links", f"mkdir /dev/net; rmdir /dev/net; ln -s {outside} /dev/net")
    device = MISC.replace(NODE, "/dev/net/tun")
    with pytest.raises(libvirt.libvirtError, match="/dev/net/tun"):
        domain.attachDevice(device)
    assert list(outside.iterdir()) == []
    assert "tun" not in domain.XMLDesc()
    domain.destroy()


def test_device_nodes_are_owned_by_the_container_s_mapped_root(box: Boxes) -> None:
    domain = box.link.createXML(container("owned", box.rootfs, extra=MISC))
    (node,) = (box.daemon.root / "run/libvirt/lxc/owned.d/nodes").iterdir()
    found = node.stat()
    assert (found.st_uid, found.st_gid) == (200000, 200000)
    assert stat.S_ISCHR(found.st_mode)
    assert found.st_rdev == Path(NODE).stat().st_rdev
    domain.destroy()
