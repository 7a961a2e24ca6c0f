"""`dynamic_users`: each guest's QEMU has a user of its own, who cannot open another's files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.test_qemu_process import daemon_with

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="QEMU's user changes only under root")

CONF: Final = "dynamic_users = 1\n"
MEMORY: Final = "<memoryBacking><source type='file'/></memoryBacking>"
AGENT: Final = (
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    "<graphics type='vnc' socket='{}/vnc-{}'/>"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may search: what keeps guests apart is not the folder."""
    with tempfile.TemporaryDirectory(prefix="vv-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with daemon_with(CONF) as daemon:
        yield daemon


def qemu_img(*arguments: str) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, timeout=20)


def start(daemon: Daemon, folder: Path, name: str, *disks: str, top: str = "") -> int:
    before = set(daemon.emulators())
    path = folder / f"{name}.xml"
    path.write_text(idle(name, devices="".join(disks), top=MEMORY + top))
    daemon.ok("create", str(path))
    (pid,) = set(daemon.emulators()) - before
    return pid


def disk(path: Path, target: str, kind: str = "qcow2", *, rest: str = "") -> str:
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/>"
        f"<source file='{path}'/><target dev='{target}' bus='virtio'/>{rest}</disk>"
    )


def user_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {line.split(":")[0]: line.split(":")[1].split() for line in status}
    assert set(fields["Uid"]) == set(fields["Gid"])
    assert int(fields["CapEff"][0], 16) == 0
    return int(fields["Uid"][0])


def can_open(uid: int, path: Path, *, write: bool = False) -> bool:
    """Whether a process of a guest's user may open a file or socket."""
    test = "-w" if write else "-r"
    command = [
        "setpriv",
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        "test",
        test,
        str(path),
    ]
    return subprocess.run(command, check=False, timeout=20).returncode == 0


def files_of(daemon: Daemon, name: str) -> list[Path]:
    """The folders of a running guest, and all in them."""
    lib = daemon.root / "var/lib/libvirt/qemu"
    folders = [*lib.glob(f"domain-*-{name}"), *lib.glob(f"ram/*-{name}")]
    folders += lib.glob(f"channel/target/domain-*-{name}")
    assert len(folders) == 3
    return [path for folder in folders for path in (folder, *folder.rglob("*"))]


def test_two_guests_cannot_open_one_anothers_files(daemon: Daemon, folder: Path) -> None:
    pids, images = {}, {}
    for name in ("one", "two"):
        images[name] = folder / f"{name}.img"
        qemu_img("create", "-q", "-f", "qcow2", str(images[name]), "1M")
        images[name].chmod(0o644)
        device = disk(images[name], "vda") + AGENT.format(folder, name)
        pids[name] = start(daemon, folder, name, device)
    users = {name: user_of(pid) for name, pid in pids.items()}
    assert users["one"] != users["two"]
    assert min(users.values()) >= 1_900_000_000
    for name, other in (("one", "two"), ("two", "one")):
        private = [images[name], folder / f"vnc-{name}", *files_of(daemon, name)]
        assert any(path.is_socket() for path in private)
        assert any(path.name == "pc.ram" for path in private)
        for path in private:
            assert can_open(users[name], path), path
            assert not can_open(users[other], path, write=True), path
            if not path.is_socket():
                assert not can_open(users[other], path), path
        assert not can_open(users[other], Path(f"/proc/{pids[name]}/mem"))
    label = f"<label>+{users['one']}:+{users['one']}</label>"
    assert label in daemon.ok("dumpxml", "one")
    for name in users:
        daemon.ok("destroy", name)
        assert (images[name].stat().st_uid, images[name].stat().st_mode & 0o777) == (0, 0o644)


def test_guests_share_a_base_by_access_control_lists_and_hotplug_keeps_to_the_user(
    daemon: Daemon, folder: Path
) -> None:
    base, shared = folder / "base.img", folder / "shared.img"
    qemu_img("create", "-q", "-f", "qcow2", str(base), "1M")
    qemu_img("create", "-q", "-f", "raw", str(shared), "1M")
    for path in (base, shared):
        path.chmod(0o600)
    pids = {}
    for name in ("one", "two"):
        overlay = folder / f"{name}.img"
        qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(overlay))
        both = disk(shared, "vdb", "raw", rest="<shareable/>")
        pids[name] = start(daemon, folder, name, disk(overlay, "vda"), both)
    users = {name: user_of(pid) for name, pid in pids.items()}
    for uid in users.values():
        assert can_open(uid, base)
        assert not can_open(uid, base, write=True)
        assert can_open(uid, shared, write=True)
    assert not can_open(1_900_999_999, base)
    daemon.kill()
    daemon.start()
    more = folder / "more.img"
    qemu_img("create", "-q", "-f", "qcow2", str(more), "1M")
    daemon.ok(
        "attach-disk", "one", str(more), "vdc", "--subdriver", "qcow2", "--targetbus", "virtio"
    )
    assert more.stat().st_uid == users["one"]
    taken = daemon.virsh("attach-disk", "two", str(more), "vdc", "--subdriver", "qcow2")
    assert "Setting different DAC user or group" in taken.stderr
    daemon.ok("destroy", "one")
    assert not can_open(users["one"], base)
    assert can_open(users["two"], base)
    assert more.stat().st_uid == 0
    daemon.ok("destroy", "two")
    assert not can_open(users["two"], shared)
    assert [path.stat().st_mode & 0o777 for path in (base, shared)] == [0o600, 0o600]


def test_a_static_label_is_the_user_all_the_same(daemon: Daemon, folder: Path) -> None:
    label = "<seclabel type='static' model='dac'><label>+5432:+5433</label></seclabel>"
    path = folder / "static.xml"
    path.write_text(idle("static").replace("</domain>", f"{label}</domain>"))
    daemon.ok("create", str(path))
    (pid,) = daemon.emulators()
    status = Path(f"/proc/{pid}").stat()
    assert (status.st_uid, status.st_gid) == (5432, 5433)
