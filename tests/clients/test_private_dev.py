"""A guest's private /dev: its disks and what every QEMU needs, at each moment of its life."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.test_qemu_process import daemon_with

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes mount namespaces")

SCSI: Final = "<controller type='scsi' model='virtio-scsi'/>"
#: Without it no process makes mount namespaces.
WITHOUT: Final = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")


@pytest.fixture
def loops(tmp_path: Path) -> Iterator[list[str]]:
    """Three block devices."""
    devices = []
    for number in range(3):
        image = tmp_path / f"{number}.img"
        with image.open("wb") as file:
            file.truncate(1 << 20)
        command = ["losetup", "--find", "--show", str(image)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        devices.append(done.stdout.strip())
    yield devices
    for device in devices:
        subprocess.run(["losetup", "--detach", device], check=True, timeout=20)


def disk(device: str, target: str) -> str:
    return (
        f"<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='{device}'/>"
        f"<target dev='{target}' bus='scsi'/></disk>"
    )


def start(daemon: Daemon, tmp_path: Path, devices: str) -> int:
    path = tmp_path / "domain.xml"
    path.write_text(idle("private", devices=devices))
    daemon.ok("create", str(path))
    (pid,) = daemon.emulators()
    return pid


def nodes(pid: int) -> dict[str, int]:
    """The owners of the loop devices in a process's /dev."""
    dev = Path(f"/proc/{pid}/root/dev")
    return {f"/dev/{path.name}": path.stat().st_uid for path in dev.glob("loop*")}


def test_disks_are_in_a_guests_own_dev_as_long_as_it_has_them(
    loops: list[str], tmp_path: Path
) -> None:
    owners = [os.stat(device).st_uid for device in loops]
    with daemon_with('user = "nobody"\n') as daemon:
        user = 65534
        pid = start(daemon, tmp_path, SCSI + disk(loops[0], "sda"))
        assert nodes(pid) == {loops[0]: user}
        dev = Path(f"/proc/{pid}/root/dev")
        assert not (dev / "loop-control").exists()
        assert (dev / "null").exists()
        assert os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
        more = tmp_path / "more.xml"
        more.write_text(disk(loops[1], "sdb"))
        daemon.ok("attach-device", "private", str(more))
        assert nodes(pid) == {loops[0]: user, loops[1]: user}
        copy = ("blockcopy", "private", "sda", loops[2], "--blockdev", "--format", "raw")
        daemon.ok(*copy, "--transient-job", "--wait", "--pivot")
        assert nodes(pid) == {loops[1]: user, loops[2]: user}
        daemon.kill()
        daemon.start()
        daemon.ok("detach-device", "private", str(more))
        assert nodes(pid) == {loops[2]: user}
        more.write_text(disk(loops[1], "sdb").replace("'raw'", "'qcow2'"))  # QEMU refuses it
        assert daemon.virsh("attach-device", "private", str(more)).returncode == 1
        assert nodes(pid) == {loops[2]: user}
        daemon.ok("destroy", "private")
    assert [os.stat(device).st_uid for device in loops] == owners


def test_a_guest_has_the_hosts_dev_where_qemu_conf_says_so(
    loops: list[str], tmp_path: Path
) -> None:
    owner = os.stat(loops[0]).st_uid
    with daemon_with('user = "nobody"\nnamespaces = []\n') as daemon:
        pid = start(daemon, tmp_path, SCSI + disk(loops[0], "sda"))
        assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        assert os.stat(loops[0]).st_uid == 65534
        daemon.ok("destroy", "private")
    assert os.stat(loops[0]).st_uid == owner


def test_without_cap_sys_admin_a_guest_starts_with_the_hosts_dev_and_the_log_says_so(
    loops: list[str], tmp_path: Path
) -> None:
    owner = os.stat(loops[0]).st_uid
    with daemon_with('user = "nobody"\n', *WITHOUT) as daemon:
        pid = start(daemon, tmp_path, SCSI + disk(loops[0], "sda"))
        assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        assert os.stat(loops[0]).st_uid == 65534
        assert "has the host's /dev, as the kernel lets us make no private" in (
            daemon.log.read_text()
        )
        daemon.ok("destroy", "private")
    assert os.stat(loops[0]).st_uid == owner


def test_namespaces_that_qemu_conf_asks_for_and_the_kernel_refuses_refuse_the_start(
    tmp_path: Path,
) -> None:
    with daemon_with('user = "nobody"\nnamespaces = ["mount"]\n', *WITHOUT) as daemon:
        path = tmp_path / "domain.xml"
        path.write_text(idle("private"))
        done = daemon.virsh("create", str(path))
        assert done.returncode == 1
        assert "mount namespace is not available" in done.stderr
        assert not list(daemon.emulators())
