"""Which nodes and links a guest's private /dev gets for the paths that QEMU opens."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.workers.qemu.namespace.dev_entries import (
    DevEntry,
    EntryKind,
    Host,
    mounts_below_dev,
    plan_entries,
)

NULL = os.makedev(1, 3)
DM3 = os.makedev(253, 3)


class FakeHost:
    """A host of folders, nodes (device numbers) and links (targets)."""

    def __init__(self, files: dict[str, int | str | None]) -> None:
        self.files = files
        for path in list(files):
            while (path := os.path.dirname(path)) != "/":
                self.files.setdefault(path, None)

    def lstat(self, path: str) -> os.stat_result:
        """Look a file up as the kernel does, without links in its folder."""
        if path not in self.files:
            raise FileNotFoundError(path)
        value = self.files[path]
        if isinstance(value, str):
            mode, device = stat.S_IFLNK | 0o777, 0
        elif value is None:
            mode, device = stat.S_IFDIR | 0o755, 0
        else:
            is_null = value == NULL
            mode, device = (stat.S_IFCHR | 0o666 if is_null else stat.S_IFBLK | 0o660), value
        # The device number is beyond the ten fields of a tuple.
        return os.stat_result(
            (mode, 1, 1, 1, 0, 6, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, device)[:10],
            {"st_rdev": device},
        )

    def readlink(self, path: str) -> str:
        """Read a link."""
        value = self.files[path]
        assert isinstance(value, str)
        return value

    def plan(self, *paths: str, kept: tuple[str, ...] = ("/dev/pts", "/dev/shm")) -> list[DevEntry]:
        """Plan with this host."""
        return plan_entries(paths, kept, Host(self.lstat, self.readlink))


def test_a_node_keeps_its_type_number_mode_and_owner() -> None:
    (entry,) = FakeHost({"/dev/dm-3": DM3}).plan("/dev/dm-3")
    assert entry == DevEntry("/dev/dm-3", EntryKind.NODE, stat.S_IFBLK | 0o660, DM3, 0, 6)


def test_links_are_made_with_what_they_lead_to() -> None:
    host = FakeHost({"/dev/mapper/vg-lv": "../dm-3", "/dev/vg/lv": "../mapper/vg-lv"})
    host.files["/dev/dm-3"] = DM3
    entries = host.plan("/dev/vg/lv")
    assert [(e.path, e.kind, e.target) for e in entries] == [
        ("/dev/vg/lv", EntryKind.LINK, "../mapper/vg-lv"),
        ("/dev/mapper/vg-lv", EntryKind.LINK, "../dm-3"),
        ("/dev/dm-3", EntryKind.NODE, ""),
    ]


def test_a_link_elsewhere_that_leads_to_dev_needs_the_node_alone() -> None:
    host = FakeHost({"/images/disk": "/dev/dm-3", "/dev/dm-3": DM3})
    assert [entry.path for entry in host.plan("/images/disk")] == ["/dev/dm-3"]


def test_a_folder_that_is_a_link_is_made_as_one() -> None:
    host = FakeHost({"/dev/disks": "disk/by-id", "/dev/disk/by-id/a": "../../dm-3"})
    host.files["/dev/dm-3"] = DM3
    paths = [entry.path for entry in host.plan("/dev/disks/a")]
    assert paths == ["/dev/disks", "/dev/disk/by-id/a", "/dev/dm-3"]


@pytest.mark.parametrize(
    "path", ["", "/dev/missing", "/images/file", "/dev", "/dev/loop", "/dev/../images/file", "/"]
)
def test_what_is_missing_or_elsewhere_needs_nothing(path: str) -> None:
    host = FakeHost({"/images/file": 0, "/dev/dm-3": DM3})
    assert host.plan(path) == []


def test_what_is_in_a_mount_of_its_own_is_there_already() -> None:
    host = FakeHost({"/dev/ptmx": "pts/ptmx", "/dev/pts/ptmx": NULL, "/dev/shm/x": NULL})
    assert [entry.path for entry in host.plan("/dev/ptmx", "/dev/shm/x")] == ["/dev/ptmx"]
    assert [entry.path for entry in host.plan("/dev/shm/x", kept=())] == ["/dev/shm/x"]


def test_a_ring_of_links_ends() -> None:
    host = FakeHost({"/dev/a": "b", "/dev/b": "a"})
    assert {entry.kind for entry in host.plan("/dev/a")} <= {EntryKind.LINK}


def test_each_path_is_made_once() -> None:
    host = FakeHost({"/dev/null": NULL})
    assert len(host.plan("/dev/null", "/dev/./null", "//dev/null")) == 1


def test_a_folder_of_dev_is_mounted_there() -> None:
    (entry,) = FakeHost({"/dev/shm/x": NULL}).plan("/dev/shm", kept=())
    assert entry.kind is EntryKind.BIND


@given(st.text(alphabet="ab/.", max_size=20))
def test_no_entry_is_outside_dev_whatever_a_link_says(target: str) -> None:
    host = FakeHost({"/dev/a": target or "b", "/dev/b": DM3, "/a/b": NULL})
    for entry in host.plan("/dev/a", kept=()):
        assert entry.path.startswith("/dev/")
        assert not {"", ".", ".."} & set(entry.parts)


MOUNTINFO = """\
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12k,mode=755
25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw
30 25 0:27 / /dev/shm rw,relatime - tmpfs tmpfs rw
31 24 0:28 / /dev/my\\040pages rw,relatime shared:3 - hugetlbfs none rw
32 31 0:29 / /dev/my\\040pages/below rw,relatime - tmpfs tmpfs rw
33 27 0:30 / /device rw,relatime - tmpfs tmpfs rw
"""


def test_the_outermost_mounts_below_dev_are_found_once() -> None:
    assert mounts_below_dev(MOUNTINFO) == ["/dev/shm", "/dev/my pages"]
    assert mounts_below_dev("garbage\n\n") == []
