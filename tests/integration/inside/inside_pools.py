"""Storage pools of block devices and servers, by stock virsh, on a kernel that has them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.daemon import VIRSH, Daemon

SHAPE = {"disks": 3, "disk_mib": 256}
PACKAGES = {
    "/usr/sbin/lvm": "lvm2",
    "/usr/sbin/parted": "parted",
    "/usr/sbin/exportfs": "nfs-kernel-server",
    "/usr/sbin/mount.nfs": "nfs-common",
    "/usr/bin/virsh": "libvirt-clients",
    "/usr/sbin/iscsid": "open-iscsi",
}
DISKS = [Path(f"/dev/disk/by-id/virtio-scratch{number}") for number in range(3)]


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """The daemon of all tests here."""
    with Daemon() as running:
        yield running


def test_a_volume_group_is_a_pool(daemon: Daemon) -> None:
    disk = str(DISKS[0].resolve())
    daemon.ok("pool-define-as", "vg", "logical", "--source-dev", disk, "--source-name", "vg0")
    daemon.ok("pool-build", "vg")
    daemon.ok("pool-start", "vg")
    assert "/dev/vg0" in daemon.ok("pool-dumpxml", "vg")
    daemon.ok("vol-create-as", "vg", "one", "32M")
    assert daemon.ok("vol-path", "one", "--pool", "vg").strip() == "/dev/vg0/one"
    assert "32.00 MiB" in daemon.ok("vol-info", "one", "--pool", "vg")
    assert f"<device path='{disk}'>" in daemon.ok("vol-dumpxml", "one", "--pool", "vg")
    daemon.ok("vol-resize", "one", "48M", "--pool", "vg")
    assert "48.00 MiB" in daemon.ok("vol-info", "one", "--pool", "vg")
    daemon.ok("vol-create-as", "vg", "snap", "16M", "--backing-vol", "one")
    assert "<path>/dev/vg0/one</path>" in daemon.ok("vol-dumpxml", "snap", "--pool", "vg")
    assert daemon.virsh("vol-create-as", "vg", "much", "10G").returncode == 1
    assert "vg0" in daemon.ok("find-storage-pool-sources", "logical")
    run("lvcreate", "-q", "-L", "8M", "-n", "aside", "vg0")
    daemon.ok("pool-refresh", "vg")
    assert sorted(daemon.ok("vol-list", "vg").split()[3::2]) == ["aside", "one", "snap"]
    for name in ("snap", "one", "aside"):
        daemon.ok("vol-delete", name, "--pool", "vg")
    assert "LV" not in run("lvs", "--noheadings", "vg0")
    daemon.ok("pool-destroy", "vg")
    assert "contains 'LVM2_member'" in daemon.virsh("pool-build", "vg", "--no-overwrite").stderr
    daemon.ok("pool-delete", "vg")
    assert "vg0" not in run("vgs")
    daemon.ok("pool-undefine", "vg")


def test_a_file_system_is_a_pool(daemon: Daemon) -> None:
    disk, target = str(DISKS[1].resolve()), "/mnt/fs"
    daemon.ok(
        "pool-define-as", "fs", "fs", "--source-dev", disk, "--source-format", "ext4",
        "--target", target,
    )  # fmt: skip
    daemon.ok("pool-build", "fs", "--overwrite")
    daemon.ok("pool-start", "fs")
    assert f"{disk} {target} ext4" in Path("/proc/mounts").read_text()
    daemon.ok("vol-create-as", "fs", "image.qcow2", "16M", "--format", "qcow2")
    assert "image.qcow2" in daemon.ok("vol-list", "fs")
    daemon.kill()
    daemon.start()
    assert "image.qcow2" in daemon.ok("vol-list", "fs")
    daemon.ok("pool-destroy", "fs")
    assert target not in Path("/proc/mounts").read_text()
    assert "contains 'ext4'" in daemon.virsh("pool-build", "fs", "--no-overwrite").stderr
    daemon.ok("pool-undefine", "fs")


def test_a_server_is_a_pool(daemon: Daemon) -> None:
    run("modprobe", "nfsd")
    for words in (
        ("mount", "-t", "tmpfs", "exports", "/srv"),
        ("mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd"),
        ("rpcbind", "-w"),
    ):
        run(*words)
    Path("/run/nfsroot").mkdir()
    Path("/etc/nfs.conf.d").mkdir(exist_ok=True)
    Path("/etc/nfs.conf.d/rig.conf").write_text("[exports]\nrootdir=/run/nfsroot\n")
    run("mount", "-t", "tmpfs", "nfsroot", "/run/nfsroot")
    Path("/run/nfsroot/volumes").mkdir(mode=0o777)
    run("rpc.statd", "--no-notify")
    run("exportfs", "-o", "rw,no_root_squash,fsid=1,insecure", "127.0.0.1:/volumes")
    run("rpc.mountd")
    run("rpc.nfsd", "2")
    daemon.ok(
        "pool-define-as", "nfs", "netfs", "--source-host", "127.0.0.1", "--source-path", "/volumes",
        "--target", "/mnt/nfs",
    )  # fmt: skip
    daemon.ok("pool-build", "nfs")
    daemon.ok("pool-start", "nfs")
    assert "nfs" in run("findmnt", "-n", "-o", "FSTYPE", "/mnt/nfs")
    daemon.ok("vol-create-as", "nfs", "far.raw", "4M")
    assert Path("/run/nfsroot/volumes/far.raw").stat().st_size == 4 << 20
    _hold_up_nobody(daemon)
    daemon.ok("pool-destroy", "nfs")
    daemon.ok("pool-undefine", "nfs")


def _hold_up_nobody(daemon: Daemon) -> None:
    """The server stops answering: its own pool alone waits for it."""
    daemon.ok("pool-create-as", "near", "dir", "--target", str(daemon.root / "near"), "--build")
    run("rpc.nfsd", "0")
    words = [VIRSH, "-c", daemon.uri, "vol-create-as", "nfs", "never.raw", "1M"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as waiting:
        try:
            assert "nfs" in daemon.ok("pool-list")
            daemon.ok("vol-create-as", "near", "one.raw", "1M")
            daemon.ok("pool-refresh", "near")
            assert "far.raw" in daemon.ok("vol-list", "nfs"), "it is known from before"
            assert waiting.poll() is None, "the server answers, so nothing was proven"
        finally:
            run("rpc.nfsd", "2")
        waiting.communicate(timeout=300)
    daemon.ok("pool-refresh", "nfs")
    made = "never.raw" in daemon.ok("vol-list", "nfs")
    assert made == (waiting.returncode == 0), "what was refused is not there, what was made is"
    daemon.ok("pool-destroy", "near")


def test_a_device_that_vanishes_takes_no_other_pool_with_it(daemon: Daemon) -> None:
    run("modprobe", "scsi_debug", "dev_size_mb=64")
    run("udevadm", "settle")
    (disk,) = (path for path in Path("/sys/block").iterdir() if path.name.startswith("sd"))
    daemon.ok("pool-create-as", "near", "dir", "--target", str(daemon.root / "near"), "--build")
    daemon.ok(
        "pool-define-as", "gone", "fs", "--source-dev", f"/dev/{disk.name}",
        "--source-format", "ext4", "--target", "/mnt/gone",
    )  # fmt: skip
    daemon.ok("pool-build", "gone", "--overwrite")
    daemon.ok("pool-start", "gone")
    daemon.ok("vol-create-as", "gone", "one.raw", "1M")
    (disk / "device/delete").write_text("1")
    done = daemon.virsh("vol-create-as", "gone", "two.raw", "16M")
    assert done.returncode == 1, "the device is not there"
    daemon.ok("vol-create-as", "near", "two.raw", "1M")
    assert "gone" in daemon.ok("pool-list")
    daemon.ok("pool-destroy", "gone")
    daemon.ok("pool-undefine", "gone")
    daemon.ok("pool-destroy", "near")


def test_a_disk_is_a_pool(daemon: Daemon) -> None:
    disk = str(DISKS[2].resolve())
    name = Path(disk).name
    daemon.ok(
        "pool-define-as", "disk", "disk", "--source-dev", disk, "--source-format", "dos",
        "--target", "/dev",
    )  # fmt: skip
    assert daemon.virsh("pool-start", "disk").returncode == 1
    daemon.ok("pool-build", "disk")
    daemon.ok("pool-start", "disk")
    assert "<freeExtent" in daemon.ok("pool-dumpxml", "disk")
    daemon.ok("vol-create-as", "disk", f"{name}1", "16M")
    assert "16.00 MiB" in daemon.ok("vol-info", f"{name}1", "--pool", "disk")
    assert Path(f"{disk}1").is_block_device()
    daemon.ok("vol-create-as", "disk", f"{name}2", "64M", "--format", "extended")
    daemon.ok("vol-create-as", "disk", f"{name}5", "16M")
    assert "expected" in daemon.virsh("vol-create-as", "disk", "mine", "8M").stderr
    assert "no large enough" in daemon.virsh("vol-create-as", "disk", f"{name}6", "9G").stderr
    assert sorted(daemon.ok("vol-list", "disk").split()[3::2]) == [
        f"{name}1", f"{name}2", f"{name}5",
    ]  # fmt: skip
    for number in (5, 2, 1):
        daemon.ok("vol-delete", f"{name}{number}", "--pool", "disk")
    daemon.ok("pool-destroy", "disk")
    assert "contains 'dos'" in daemon.virsh("pool-build", "disk").stderr
    daemon.ok("pool-build", "disk", "--overwrite")
    daemon.ok("pool-undefine", "disk")


TARGET = "iqn.2026-11.test.rig:one"
INITIATOR = "iqn.2026-11.test.rig:guest"


def write(path: Path, text: str) -> None:
    path.write_text(text)


def serve_target(image: Path) -> None:
    """Have the kernel serve an image as an iSCSI target with CHAP."""
    for module in ("target_core_mod", "target_core_file", "iscsi_target_mod", "iscsi_tcp"):
        run("modprobe", module)
    run("mount", "-t", "configfs", "configfs", "/sys/kernel/config")
    core = Path("/sys/kernel/config/target/core/fileio_0/one")
    core.mkdir(parents=True)
    write(core / "control", f"fd_dev_name={image},fd_dev_size={image.stat().st_size}")
    write(core / "enable", "1")
    group = Path(f"/sys/kernel/config/target/iscsi/{TARGET}/tpgt_1")
    group.mkdir(parents=True)
    (group / "np/127.0.0.1:3260").mkdir(parents=True)
    (group / "lun/lun_0").mkdir(parents=True)
    (group / "lun/lun_0/link").symlink_to(core)
    for name, value in {
        "authentication": "1", "generate_node_acls": "1", "cache_dynamic_acls": "1",
        "demo_mode_write_protect": "0",
    }.items():  # fmt: skip
        write(group / "attrib" / name, value)
    write(group / "auth/userid", "guest")
    write(group / "auth/password", "a long password")
    write(group / "enable", "1")
    Path("/etc/iscsi/initiatorname.iscsi").write_text("InitiatorName=iqn.2026-11.test.rig:host\n")
    run("iscsid")


def test_a_target_is_a_pool(daemon: Daemon, tmp_path: Path) -> None:
    image = Path("/dev/shm/unit.raw")
    with image.open("wb") as file:
        file.truncate(32 << 20)
    serve_target(image)
    secret = tmp_path / "secret.xml"
    secret.write_text(
        "<secret ephemeral='no' private='yes'><usage type='iscsi'><target>chap</target></usage>"
        "</secret>"
    )
    uuid = daemon.ok("secret-define", str(secret)).split()[1]
    value = tmp_path / "value"
    value.write_text("a long password")
    daemon.ok("secret-set-value", uuid, "--file", str(value), "--plain")
    assert TARGET in daemon.ok("find-storage-pool-sources-as", "iscsi", "127.0.0.1")
    pool = tmp_path / "pool.xml"
    pool.write_text(
        "<pool type='iscsi'><name>far</name><source><host name='127.0.0.1'/>"
        f"<device path='{TARGET}'/><initiator><iqn name='{INITIATOR}'/></initiator>"
        "<auth type='chap' username='guest'><secret usage='chap'/></auth></source>"
        "<target><path>/dev/disk/by-path</path></target></pool>"
    )
    daemon.ok("pool-define", str(pool))
    daemon.ok("pool-start", "far")
    assert "unit:0:0:0" in daemon.ok("vol-list", "far")
    assert "32.00 MiB" in daemon.ok("vol-info", "unit:0:0:0", "--pool", "far")
    path = daemon.ok("vol-path", "unit:0:0:0", "--pool", "far").strip()
    assert Path(path).is_block_device()
    assert INITIATOR in run("iscsiadm", "-m", "session", "-P", "1")
    assert daemon.virsh("vol-create-as", "far", "more", "1M").returncode == 1
    daemon.ok("pool-destroy", "far")
    assert "far" not in daemon.ok("pool-list")
    assert not Path(path).exists()
    daemon.ok("pool-undefine", "far")
