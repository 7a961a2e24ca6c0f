"""What libvirt's status file does not say of a guest is found beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.paths import Paths
from supervisor.workers import owner_attributes
from supervisor.workers.cgroups.hierarchies import UNIFIED
from supervisor.workers.cgroups.scope_names import machine_name
from supervisor.workers.qemu.external.pid_files import remove_pid_files
from supervisor.workers.qemu.start.take_over import (
    filters_devices,
    find_helpers,
    parse_group,
    remembered_owner,
)
from tests.unit.objects.libvirt_statuses import process


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("0::/machine.slice/machine-qemu\\x2d1\\x2da.scope/libvirt/emulator\n",
         "machine.slice/machine-qemu\\x2d1\\x2da.scope/libvirt"),
        ("4:memory:/machine/qemu-1-a.libvirt-qemu\n3:cpu:/machine/qemu-1-a.libvirt-qemu/emulator\n",
         "machine/qemu-1-a.libvirt-qemu"),
        ("2:cpu:/big/fast.partition/qemu-12-web.libvirt-qemu/emulator\n",
         "big/fast.partition/qemu-12-web.libvirt-qemu"),
        ("0::/virtvisor.slice/qemu-3-a-0badcafe\n", "virtvisor.slice/qemu-3-a-0badcafe"),
        ("5:pids:/user.slice\n0::/system.slice/libvirtd.service\n", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_group_of_a_guest_is_that_of_its_threads_parent(text: str, group: str) -> None:
    assert parse_group(text) == group


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        ("web", "qemu-7-web"),
        ("a b/ü_c", "qemu-7-abc"),
        ("a..b--.c", "qemu-7-a.b-c"),
        ("end-.", "qemu-7-end"),
        ("x" * 80, f"qemu-7-{'x' * 57}"),
    ],
)
def test_a_guests_group_has_the_name_that_libvirt_looks_for(name: str, machine: str) -> None:
    assert machine_name("qemu", name, 7) == machine


@pytest.mark.parametrize(
    ("mounted", "expected"),
    [
        ((UNIFIED,), True),
        (("devices", "cpu"), True),
        ((UNIFIED, "devices"), False),
        (("cpu",), False),
    ],
)
def test_devices_are_added_to_the_filter_of_a_single_hierarchy(
    tmp_path: Path, mounted: tuple[str, ...], expected: bool
) -> None:
    (tmp_path / "machine/guest").mkdir(parents=True)
    hierarchies = dict.fromkeys(mounted, tmp_path)
    assert filters_devices("machine/guest", hierarchies) is expected
    assert not filters_devices("machine/other", hierarchies)
    assert not filters_devices("", hierarchies)


def test_helpers_are_found_by_their_pid_files(tmp_path: Path) -> None:
    paths = Paths.system(tmp_path).for_driver("qemu")
    status = Status(name="web", uuid="", id=3, state=1, reason=1)
    folder = paths.status_dir()
    (folder / "swtpm").mkdir(parents=True)
    with process("/usr/libexec/virtiofsd") as files, process("/usr/bin/swtpm") as swtpm:
        (folder / "3-web-fs0-fs.pid").write_text(f"{files}\n")
        (folder / "3-web-fs1-fs.pid").write_text(str(swtpm))  # not its program any more
        (folder / "4-web-fs0-fs.pid").write_text(str(files))  # another guest's
        (folder / "swtpm/3-web-swtpm.pid").write_text(str(swtpm))
        (folder / "web.pid").write_text("1")
        found = [(one.alias, one.pid) for one in find_helpers(paths, status)]
    assert found == [("fs0", files), ("swtpm", swtpm)]
    assert list(find_helpers(paths, status)) == []  # they have ended
    remove_pid_files(paths, status)
    left = sorted(path.name for path in folder.rglob("*.pid"))
    assert left == ["4-web-fs0-fs.pid", "web.pid"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write trusted attributes")
def test_the_owner_that_libvirt_has_remembered_is_restored_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.touch()
    assert remembered_owner(str(path)) is None
    try:
        os.setxattr(path, owner_attributes.OWNER, b"+1234:+56\0")
    except OSError:
        pytest.skip("the file system of /tmp has no trusted attributes")
    owner = remembered_owner(str(path))
    assert owner is not None
    assert (owner.uid, owner.gid, owner.inode) == (1234, 56, path.stat().st_ino)
