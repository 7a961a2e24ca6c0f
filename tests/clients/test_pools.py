"""Storage pools through stock virsh and libvirt-python, on a real daemon."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.event_watch import EVENT_S, EventLoop
from tests.clients.libvirt_binding import libvirt


@pytest.fixture
def pool(daemon: Daemon) -> Iterator[Path]:
    """The folder of an active pool "p" of the daemon."""
    folder = daemon.root / "pools/p"
    daemon.ok("pool-define-as", "p", "dir", "--target", str(folder))
    daemon.ok("pool-build", "p")
    daemon.ok("pool-start", "p")
    yield folder
    daemon.virsh("pool-destroy", "p")
    daemon.virsh("pool-undefine", "p")
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def process_of(daemon: Daemon, name: str) -> int:
    """The number of one of the daemon's processes."""
    return next(int(row["pid"]) for row in daemon.status() if row["name"] == name)


def helpers_of(daemon: Daemon) -> list[int]:
    """The processes that touch pools' files."""
    stord = process_of(daemon, "stord")
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parent = Path(f"/proc/{fields[1]}/stat").read_text().rpartition(")")[2].split()
                if int(parent[1]) == stord:
                    found.append(int(entry.name))
    return found


def test_a_pool_lives_from_its_definition_to_its_end(daemon: Daemon) -> None:
    folder = daemon.root / "life"
    daemon.ok("pool-define-as", "life", "dir", "--target", str(folder))
    assert "inactive" in daemon.ok("pool-list", "--all")
    refused = daemon.virsh("pool-start", "life")
    assert refused.returncode != 0
    assert "No such file or directory" in refused.stderr
    daemon.ok("pool-build", "life")
    assert folder.stat().st_mode & 0o777 == 0o711
    daemon.ok("pool-start", "life")
    assert (daemon.root / "run/libvirt/storage/life.xml").exists()
    assert "still active" in daemon.virsh("pool-undefine", "life").stderr
    daemon.ok("pool-autostart", "life")
    assert (daemon.root / "etc/libvirt/storage/autostart/life.xml").is_symlink()
    daemon.ok("pool-destroy", "life")
    daemon.ok("pool-delete", "life")
    assert not folder.exists()
    daemon.ok("pool-undefine", "life")
    assert not (daemon.root / "etc/libvirt/storage/life.xml").exists()
    assert not (daemon.root / "etc/libvirt/storage/autostart/life.xml").is_symlink()
    assert not (daemon.root / "run/libvirt/storage/life.xml").exists()


def test_a_transient_pool_is_gone_when_it_stops(daemon: Daemon) -> None:
    folder = daemon.root / "transient"
    daemon.ok("pool-create-as", "t", "dir", "--target", str(folder), "--build")
    assert daemon.ok("pool-list", "--transient", "--name").split() == ["t"]
    daemon.ok("pool-destroy", "t")
    assert "not found" in daemon.virsh("pool-info", "t").stderr


def test_lists_take_filters(daemon: Daemon, pool: Path) -> None:
    daemon.ok("pool-define-as", "off", "dir", "--target", "/nowhere")
    try:
        assert daemon.ok("pool-list", "--name").split() == ["p"]
        assert daemon.ok("pool-list", "--inactive", "--name").split() == ["off"]
        assert daemon.ok("pool-list", "--all", "--type", "netfs", "--name").split() == []
        assert daemon.ok("pool-list", "--all", "--type", "dir", "--name").split() == ["off", "p"]
    finally:
        daemon.ok("pool-undefine", "off")


def test_pools_and_volumes_are_found_by_each_other(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "p", "a.raw", "1M")
    link = libvirt.open(daemon.uri)
    try:
        volume = link.storageVolLookupByPath(str(pool / "a.raw"))
        assert volume.storagePoolLookupByVolume().name() == "p"
        assert link.storageVolLookupByKey(volume.key()).name() == "a.raw"
        assert link.storagePoolLookupByTargetPath(str(pool)).name() == "p"
        with pytest.raises(libvirt.libvirtError, match="no storage vol with matching") as missing:
            link.storageVolLookupByPath("/nowhere/x")
        assert missing.value.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL
    finally:
        link.close()


def test_a_pool_of_a_type_that_cannot_run_here_is_kept_and_its_start_refused(
    daemon: Daemon,
) -> None:
    daemon.ok("pool-define-as", "z", "vstorage", "--source-name", "tank", "--target", "/nowhere")
    try:
        refused = daemon.virsh("pool-start", "z")
        assert refused.returncode != 0
        assert "'vstorage'" in refused.stderr
    finally:
        daemon.ok("pool-undefine", "z")


def test_a_server_that_cannot_be_mounted_is_refused_with_a_reason(daemon: Daemon) -> None:
    words = ("--source-host", "127.0.0.1", "--source-path", "/x", "--target", "/nowhere")
    daemon.ok("pool-define-as", "n", "netfs", *words)
    try:
        refused = daemon.virsh("pool-start", "n")
        assert refused.returncode != 0
        assert "error:" in refused.stderr
        assert "unexpected exception" not in refused.stderr
        assert "inactive" in daemon.ok("pool-list", "--all")
    finally:
        daemon.ok("pool-undefine", "n")


def test_events_tell_of_every_step(daemon: Daemon) -> None:
    EventLoop.start()  # one thread runs the loop of all tests
    seen: list[tuple[str, int]] = []
    arrived = threading.Event()

    def lifecycle(_link: Any, pool: Any, event: int, _detail: int, _data: Any) -> None:
        seen.append((pool.name(), event))

    def refreshed(_link: Any, pool: Any, _data: Any) -> None:
        seen.append((pool.name(), -1))
        arrived.set()

    link = libvirt.open(daemon.uri)
    try:
        link.storagePoolEventRegisterAny(
            None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, lifecycle, None
        )
        link.storagePoolEventRegisterAny(
            None, libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH, refreshed, None
        )
        folder = daemon.root / "events"
        daemon.ok("pool-define-as", "e", "dir", "--target", str(folder))
        daemon.ok("pool-build", "e")
        daemon.ok("pool-start", "e")
        daemon.ok("pool-refresh", "e")
        assert arrived.wait(EVENT_S)
        received = list(seen)
    finally:
        link.close()
        daemon.virsh("pool-destroy", "e")
        daemon.virsh("pool-undefine", "e")
    assert received == [
        ("e", libvirt.VIR_STORAGE_POOL_EVENT_DEFINED),
        ("e", libvirt.VIR_STORAGE_POOL_EVENT_CREATED),
        ("e", libvirt.VIR_STORAGE_POOL_EVENT_STARTED),
        ("e", -1),
    ]


def test_a_storage_that_hangs_holds_up_no_other_pool(daemon: Daemon, pool: Path) -> None:
    for name in ("a.raw", "b.raw"):
        daemon.ok("vol-create-as", "p", name, "1M")
    hung = helpers_of(daemon)
    assert hung, "the pool has no process"
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)  # as a server that stops answering would leave them
    other = daemon.root / "pools/other"
    with ThreadPoolExecutor() as clients:
        waiting = [
            clients.submit(daemon.virsh, *command)
            for command in (
                ("vol-delete", "a.raw", "p"),
                ("vol-create-as", "p", "c.raw", "1M"),
                ("vol-clone", "b.raw", "d.raw", "p"),
                ("vol-info", "b.raw", "p"),
            )
        ]
        daemon.ok("pool-create-as", "other", "dir", "--target", str(other), "--build")
        daemon.ok("vol-create-as", "other", "b.raw", "1M")
        daemon.ok("vol-clone", "b.raw", "e.raw", "other")
        daemon.ok("vol-delete", "b.raw", "other")
        assert daemon.ok("pool-list", "--name").split() == ["other", "p"]
        assert "a.raw" in daemon.ok("vol-list", "p")  # from memory
        assert not any(call.done() for call in waiting)
        for call in waiting:
            assert "did not answer" in call.result().stderr
    assert "a.raw" in daemon.ok("vol-info", "a.raw", "p")  # by a new process: it was only stopped
    assert sorted(path.name for path in pool.iterdir()) == ["a.raw", "b.raw"]
    daemon.ok("vol-delete", "e.raw", "other")
    daemon.ok("pool-destroy", "other")


def test_active_pools_survive_the_death_of_stord(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "p", "a.raw", "1M")
    left = pool / ".virtvisor-new-00000000-1-1-deadbeef"  # another host's: not ours to remove
    left.touch()
    os.kill(process_of(daemon, "stord"), signal.SIGKILL)
    assert "a.raw" in daemon.ok("vol-list", "p")
    assert daemon.ok("pool-list", "--name").split() == ["p"]
    assert left.name not in daemon.ok("vol-list", "p")
    assert left.exists()


def test_a_pool_whose_folder_has_gone_is_off_after_a_restart_of_stord(
    daemon: Daemon, pool: Path
) -> None:
    gone = daemon.root / "pools/gone"
    daemon.ok("pool-define-as", "gone", "dir", "--target", str(gone))
    daemon.ok("pool-build", "gone")
    daemon.ok("pool-start", "gone")
    gone.rmdir()
    os.kill(process_of(daemon, "stord"), signal.SIGKILL)
    assert daemon.ok("pool-list", "--name").split() == ["p"]
    assert daemon.ok("pool-list", "--inactive", "--name").split() == ["gone"]
    daemon.ok("pool-undefine", "gone")
    assert not (daemon.root / "run/libvirt/storage/gone.xml").exists()


def test_the_loss_of_what_forks_the_pools_processes_is_made_good(
    daemon: Daemon, pool: Path
) -> None:
    daemon.ok("vol-create-as", "p", "a.raw", "1M")
    stord = process_of(daemon, "stord")
    children = Path(f"/proc/{stord}/task/{stord}/children").read_text().split()
    before = os.pidfd_open(stord)
    os.kill(int(children[0]), signal.SIGKILL)
    try:
        assert select.select([before], [], [], 10)[0], "stord goes on without its forker"
    finally:
        os.close(before)
    assert "a.raw" in daemon.ok("vol-info", "a.raw", "p")
