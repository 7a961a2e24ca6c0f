"""What a guest's devices need in its private /dev, and whose it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from conf.domain import Domain, parse_domain
from conf.settings import QemuConfig
from supervisor.runtime.emulator_user import User
from supervisor.workers.file_owners import ChownedFile
from supervisor.workers.qemu.namespace.dev_entries import DevEntry
from supervisor.workers.qemu.namespace.guest_dev import (
    dev_paths,
    is_for_all,
    outside_dev,
    start_entries,
    wants_private_dev,
)

USER = User(64055, 64056, "")


def domain(devices: str, rest: str = "") -> Domain:
    return parse_domain(
        f"<domain type='qemu'><name>web</name><memory>1024</memory>{rest}"
        f"<os><type arch='x86_64'>hvm</type></os><devices>{devices}</devices></domain>"
    )


def entry(entries: list[DevEntry], path: str) -> DevEntry:
    return next(entry for entry in entries if entry.path == path)


def test_namespaces_are_used_as_qemu_conf_says() -> None:
    assert wants_private_dev(QemuConfig(), session=False)
    assert wants_private_dev(QemuConfig(namespaces=["mount"]), session=False)
    assert not wants_private_dev(QemuConfig(namespaces=[]), session=False)
    assert not wants_private_dev(QemuConfig(), session=True)


def test_a_plain_guest_has_the_acl_alone() -> None:
    paths = set(dev_paths(domain(""), QemuConfig()))
    assert {"/dev/null", "/dev/kvm", "/dev/userfaultfd", "/dev/shm"} <= paths
    own = set(dev_paths(domain(""), QemuConfig(cgroup_device_acl=["/dev/null"])))
    assert own == {"/dev/null", "/dev/shm"}


@pytest.mark.skipif(not Path("/dev/loop0").exists(), reason="no loop device")
def test_nodes_of_the_xml_become_qemus_and_those_of_every_guest_stay() -> None:
    disk = "<disk type='block'><source dev='/dev/loop0'/><target dev='vda'/></disk>"
    entries = start_entries(domain(disk), QemuConfig(), USER, [])
    node = entry(entries, "/dev/loop0")
    assert (node.uid, node.gid) == (64055, 64056)
    assert stat.S_IMODE(node.mode) & 0o600 == 0o600
    assert entry(entries, "/dev/null").uid == 0
    as_on_host = start_entries(domain(disk), QemuConfig(), None, [])
    assert entry(as_on_host, "/dev/loop0").uid == os.stat("/dev/loop0").st_uid


@pytest.mark.skipif(not Path("/dev/loop0").exists(), reason="no loop device")
def test_a_disk_that_keeps_its_owner_is_there_as_the_hosts() -> None:
    disk = (
        "<disk type='block'><source dev='/dev/loop0'><seclabel model='dac' relabel='no'/></source>"
        "<target dev='vda'/></disk>"
    )
    node = entry(start_entries(domain(disk), QemuConfig(), USER, []), "/dev/loop0")
    assert node.uid == os.stat("/dev/loop0").st_uid


def test_what_every_user_may_open_stays_the_hosts() -> None:
    assert is_for_all(stat.S_IFCHR | 0o666)
    assert not is_for_all(stat.S_IFCHR | 0o660)
    assert not is_for_all(stat.S_IFBLK | 0o666)


@pytest.mark.skipif(not Path("/dev/loop0").exists(), reason="no loop device")
def test_the_hosts_node_is_not_chowned_but_files_are(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.touch()
    link = tmp_path / "link"
    link.symlink_to("/dev/loop0")
    files = [ChownedFile(str(path)) for path in (image, link, "/dev/loop0")]
    assert [file.path for file in outside_dev(files)] == [str(image)]
