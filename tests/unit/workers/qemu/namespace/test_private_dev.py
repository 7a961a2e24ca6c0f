"""A real process in a mount namespace with a private /dev, as root."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.runtime.host import boot_id
from supervisor.runtime.pidfd import ProcessIdentity
from supervisor.runtime.procfs import start_time
from supervisor.workers.qemu.namespace.dev_entries import DevEntry, EntryKind, plan_entries
from supervisor.workers.qemu.namespace.private_dev import (
    MOUNTINFO,
    NamespaceError,
    add_entries,
    kept_mounts,
    remove_entries,
    spawn_with_private_dev,
)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces and nodes"),
    pytest.mark.skipif(
        not any(line.split()[4] == "/" for line in MOUNTINFO.read_text().splitlines()),
        reason="the root of a chroot is no mount, which could be kept from the host's",
    ),
]
PLAIN = ("/dev/null", "/dev/zero")
BLOCK = DevEntry(
    "/dev/disk/by-id/x", EntryKind.NODE, stat.S_IFBLK | 0o640, os.makedev(7, 250), 64055, 64055
)


class Sleeper:
    """A process with a private /dev."""

    def __init__(self) -> None:
        kept = kept_mounts()
        self.process, self.device = spawn_with_private_dev(
            plan_entries(PLAIN, kept), kept, lambda: subprocess.Popen(["sleep", "100"])
        )
        pid = self.process.pid
        start = start_time(pid)
        assert start is not None
        self.identity = ProcessIdentity(pid, start, boot_id())
        self.dev = Path(f"/proc/{pid}/root/dev")

    def names(self) -> set[str]:
        """What its /dev has, but for what the host's mounts there have."""
        kept = {point.removeprefix("/dev/").split("/")[0] for point in kept_mounts()}
        return set(os.listdir(self.dev)) - kept

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(5)


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    sleeper = Sleeper()
    yield sleeper
    sleeper.end()


def test_a_process_sees_what_was_planned_and_the_host_is_unchanged(sleeper: Sleeper) -> None:
    before = set(os.listdir("/dev"))
    assert sleeper.names() == {"null", "zero"}
    assert set(os.listdir("/dev")) == before
    assert len(before) > len(PLAIN)
    assert (sleeper.dev / "null").stat().st_rdev == os.makedev(1, 3)
    assert (sleeper.dev / "pts/ptmx").exists() == os.path.exists("/dev/pts/ptmx")
    own = os.stat("/proc/self/ns/mnt").st_ino
    assert os.stat(f"/proc/{sleeper.process.pid}/ns/mnt").st_ino != own
    assert sleeper.device == os.stat(sleeper.dev).st_dev


def test_nodes_and_links_are_added_and_removed_while_it_runs(sleeper: Sleeper) -> None:
    link = DevEntry("/dev/first", EntryKind.LINK, target="disk/by-id/x")
    for _ in range(2):  # what is there is replaced
        add_entries(sleeper.identity, sleeper.device, [BLOCK, link])
    status = (sleeper.dev / "disk/by-id/x").lstat()
    assert (status.st_mode, status.st_rdev) == (BLOCK.mode, BLOCK.device)
    assert (status.st_uid, status.st_gid) == (64055, 64055)
    assert os.readlink(sleeper.dev / "first") == "disk/by-id/x"
    assert not os.path.lexists("/dev/first")
    for _ in range(2):  # what is missing is no error
        remove_entries(sleeper.identity, sleeper.device, [BLOCK, link])
    assert sleeper.names() == {"null", "zero", "disk"}
    assert os.listdir(sleeper.dev / "disk/by-id") == []


def test_a_plain_file_of_dev_is_mounted_there_and_unmounted(sleeper: Sleeper) -> None:
    file = Path("/dev/vv-plain-file")
    file.write_text("contents")
    try:
        entries = plan_entries([str(file)], kept_mounts())
        add_entries(sleeper.identity, sleeper.device, entries)
        assert (sleeper.dev / file.name).read_text() == "contents"
        remove_entries(sleeper.identity, sleeper.device, entries)
        assert file.name not in sleeper.names()
        assert file.read_text() == "contents"
    finally:
        file.unlink()


def test_another_dev_than_that_of_the_start_is_left_alone(sleeper: Sleeper) -> None:
    with pytest.raises(OSError, match="not the one that it was started with"):
        add_entries(sleeper.identity, sleeper.device + 1, [BLOCK])
    assert sleeper.names() == {"null", "zero"}


def test_a_later_process_of_the_same_number_is_left_alone(sleeper: Sleeper) -> None:
    later = ProcessIdentity(sleeper.identity.pid, sleeper.identity.start + 1, boot_id())
    with pytest.raises(ProcessLookupError):
        add_entries(later, sleeper.device, [BLOCK])


def test_a_mount_on_the_way_is_not_entered(sleeper: Sleeper) -> None:
    entry = DevEntry("/dev/pts/x", EntryKind.NODE, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with pytest.raises(OSError, match="another file system"):
        add_entries(sleeper.identity, sleeper.device, [entry])


def test_a_kernel_that_refuses_spawns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spawned: list[int] = []
    monkeypatch.setattr(
        "supervisor.workers.qemu.namespace.private_dev.OPTIONS", {"no-such-option": "1"}
    )
    with pytest.raises(NamespaceError):
        spawn_with_private_dev([], [], lambda: spawned.append(1))
    assert not spawned
