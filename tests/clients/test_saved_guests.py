"""Save, restore and managed save through stock clients: what was in memory is there again.

A FIFO that nobody reads holds a save in its middle for as long as a test wants.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.clients.daemon import VIRSH, Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import EventLoop, Watch, wait_until
from tests.clients.guest import READY, Guest
from tests.clients.libvirt_binding import libvirt
from tests.clients.namespace import own_mounts, shown
from tests.clients.test_killed_processes import pid_of, runs_anew

RUNNING = libvirt.VIR_DOMAIN_RUNNING
LIBVIRT_MAGIC = b"LibvirtQemudSave"


@pytest.fixture
def own() -> Iterator[Daemon]:
    """A daemon that the test may kill."""
    EventLoop.start()
    with Daemon() as running:
        yield running


class HeldSave:
    """A guest in the middle of its save."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon = daemon
        self._path = folder / "fifo"
        os.mkfifo(self._path)
        self._reader = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        self.connection = libvirt.open(daemon.uri)
        self.domain = self.connection.defineXML(idle("web"))
        self.domain.create()
        self.error: Any = None
        self._thread = threading.Thread(target=self._save)
        self._thread.start()
        wait_until("the guest is paused to be saved", lambda: self.state() == [3, 3])

    def _save(self) -> None:
        try:
            libvirt.open(self.daemon.uri).lookupByName("web").save(str(self._path))
        except libvirt.libvirtError as error:
            self.error = error

    def state(self) -> list[int]:
        """VirDomainState and reason, over a connection that may be new."""
        try:
            state: list[int] = self.domain.state()
        except libvirt.libvirtError:
            self.reconnect()
            return []
        return state

    def reconnect(self) -> None:
        """Connect anew, once the daemon is there."""
        try:
            self.connection = libvirt.open(self.daemon.uri)
            self.domain = self.connection.lookupByName("web")
        except libvirt.libvirtError:
            return

    def wait_undone(self) -> None:
        """Wait until the guest runs, and has no job."""
        wait_until("the guest runs on", lambda: self.state()[:1] == [RUNNING])
        wait_until("the job has ended", lambda: self.domain.jobInfo()[0] == 0)

    def join(self) -> None:
        """Wait until the call has ended."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        os.close(self._reader)


def test_what_runs_in_a_guest_goes_on_after_a_managed_save(daemon: Daemon, tiny: Guest) -> None:
    document = daemon.root / "tiny.xml"
    document.write_text(booting("tiny", tiny))
    daemon.ok("define", str(document))
    console = pexpect.spawn(
        VIRSH, ["-c", daemon.uri, "start", "tiny", "--console"], timeout=120, encoding="utf-8"
    )
    console.expect(READY)
    console.expect("login: ")  # what is typed before it is lost on a busy host
    console.sendline("root")
    console.expect("# ")
    console.sendline("kept=in-memory-$((6 * 7))")
    console.expect("# ")
    daemon.ok("managedsave", "tiny", "--verbose")
    console.expect(pexpect.EOF)
    assert "saved" in daemon.ok("list", "--all", "--managed-save")
    assert daemon.ok("domstate", "tiny", "--reason").strip() == "shut off (saved)"
    daemon.ok("start", "tiny")
    assert "saved" not in daemon.ok("list", "--all", "--managed-save")
    assert daemon.ok("domstate", "tiny", "--reason").strip() == "running (restored)"
    console = pexpect.spawn(
        VIRSH, ["-c", daemon.uri, "console", "tiny"], timeout=60, encoding="utf-8"
    )
    console.expect("Escape character")
    console.sendline("echo it is $kept")
    console.expect("it is in-memory-42")
    console.close()
    daemon.ok("destroy", "tiny")
    daemon.ok("undefine", "tiny")


def test_an_image_is_libvirts_and_outlives_its_domain(
    daemon: Daemon, link: Any, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    watch = Watch(link)
    link.createXML(idle("web")).save(str(image))
    assert image.read_bytes().startswith(LIBVIRT_MAGIC)
    assert image.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["image"]
    assert "web" not in daemon.ok("list", "--all")
    assert "<name>web</name>" in daemon.ok("save-image-dumpxml", str(image))
    daemon.ok("restore", str(image), "--paused")
    for event in ((2, 0), (5, 4), (2, 2)):  # booted, saved, restored
        watch.wait_for("web", *event)
    watch.close()
    guest = link.lookupByName("web")
    assert guest.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION]
    guest.resume()
    guest.destroy()


def test_each_compression_and_the_way_past_the_cache(own: Daemon, tmp_path: Path) -> None:
    image = Path("/var/tmp") / f"vv-{tmp_path.name}"  # O_DIRECT is not for a tmpfs
    libvirt.open(own.uri).createXML(idle("web"))
    for packed in ("raw", "gzip", "bzip2", "xz", "zstd"):
        own.stop()
        (own.root / "etc/libvirt/qemu.conf").write_text(f'save_image_format = "{packed}"\n')
        own.start()
        connection = libvirt.open(own.uri)
        for flags in (0, libvirt.VIR_DOMAIN_SAVE_BYPASS_CACHE):
            connection.lookupByName("web").saveFlags(str(image), None, flags)
            connection.restoreFlags(str(image), None, flags)
            assert connection.lookupByName("web").state()[0] == RUNNING
            image.unlink()
        connection.close()


def test_a_full_disk_loses_neither_the_guest_nor_the_earlier_image() -> None:
    with own_mounts(), Daemon() as daemon:
        small = daemon.root / "small"
        small.mkdir()
        shown("mount", "-t", "tmpfs", "-o", "size=1100k", "small", str(small))
        image = small / "image"
        connection = libvirt.open(daemon.uri)
        guest = connection.createXML(idle("web"))
        guest.save(str(image))
        earlier = image.read_bytes()
        connection.restore(str(image))
        guest = connection.lookupByName("web")
        done = daemon.virsh("save", "web", str(image))
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert guest.state() == [RUNNING, libvirt.VIR_DOMAIN_RUNNING_SAVE_CANCELED]
        assert [path.name for path in small.iterdir()] == ["image"]
        assert image.read_bytes() == earlier
        connection.close()


def test_an_aborted_save_leaves_the_guest_running_and_its_queries_answered(
    own: Daemon, tmp_path: Path
) -> None:
    held = HeldSave(own, tmp_path)
    assert "Save" in own.ok("domjobinfo", "web")
    assert held.domain.jobStats()["operation"] == libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE
    own.ok("domjobabort", "web")
    held.join()
    assert held.error.get_error_code() == libvirt.VIR_ERR_OPERATION_ABORTED
    assert held.state() == [RUNNING, libvirt.VIR_DOMAIN_RUNNING_SAVE_CANCELED]


@pytest.mark.parametrize("victim", ["qemu:web", "domd"])
def test_a_process_killed_in_the_middle_of_a_save_costs_the_save_alone(
    own: Daemon, tmp_path: Path, victim: str
) -> None:
    held = HeldSave(own, tmp_path)
    former = pid_of(own, victim)
    os.kill(former, signal.SIGKILL)
    wait_until(f"{victim} runs again", lambda: runs_anew(own, victim, former))
    if victim == "domd":  # the worker goes on with it, and the next domd may abort it
        assert "Save" in own.ok("domjobinfo", "web")
        own.ok("domjobabort", "web")
    held.join()
    assert held.error is not None
    held.wait_undone()
    held.domain.save(str(tmp_path / "image"))
    held.connection.restore(str(tmp_path / "image"))
    assert held.state()[:1] == [RUNNING]


def test_a_root_killed_in_the_middle_of_a_save_finds_the_guest(own: Daemon, tmp_path: Path) -> None:
    held = HeldSave(own, tmp_path)
    own.kill()
    held.join()
    own.start()
    held.reconnect()
    held.wait_undone()


class HeldRestore:
    """A domain in the middle of its restore, from a FIFO that has a part of its image."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon = daemon
        self.image = folder / "image"
        connection = libvirt.open(daemon.uri)
        connection.defineXML(idle("web")).create()
        connection.lookupByName("web").save(str(self.image))
        self._path = folder / "fifo"
        os.mkfifo(self._path)
        self._writer = os.open(self._path, os.O_RDWR)
        self.error: Any = None
        self._thread = threading.Thread(target=self._restore)
        self._thread.start()
        self._rest = self.image.read_bytes()
        self._feed(len(self._rest) // 2)  # more than a pipe takes: QEMU reads by then

    def _feed(self, count: int) -> None:
        left = memoryview(self._rest[:count])
        self._rest = self._rest[count:]
        while left:
            left = left[os.write(self._writer, left) :]

    def _restore(self) -> None:
        try:
            libvirt.open(self.daemon.uri).restore(str(self._path))
        except libvirt.libvirtError as error:
            self.error = error

    def join(self) -> None:
        """Wait until the call has ended."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        os.close(self._writer)

    def complete(self) -> None:
        """Give the rest of the image."""
        self._feed(len(self._rest))

    def check_off(self) -> None:
        """The domain is off, nothing of it runs, and its image can be restored."""
        wait_until("no emulator is left", lambda: not list(self.daemon.emulators()))
        domain = libvirt.open(self.daemon.uri).lookupByName("web")
        wait_until("the domain is off", lambda: not domain.isActive())
        domain.connect().restore(str(self.image))
        assert domain.state() == [RUNNING, libvirt.VIR_DOMAIN_RUNNING_RESTORED]


def test_a_worker_killed_in_the_middle_of_a_restore_leaves_the_image(
    own: Daemon, tmp_path: Path
) -> None:
    held = HeldRestore(own, tmp_path)
    os.kill(pid_of(own, "qemu:web"), signal.SIGKILL)
    held.join()
    assert held.error is not None
    held.check_off()


def test_a_restore_outlives_a_domd(own: Daemon, tmp_path: Path) -> None:
    held = HeldRestore(own, tmp_path)
    former = pid_of(own, "domd")
    os.kill(former, signal.SIGKILL)
    wait_until("domd runs again", lambda: runs_anew(own, "domd", former))
    held.complete()
    domain = libvirt.open(own.uri).lookupByName("web")
    wait_until("the guest is restored", lambda: domain.state() == [RUNNING, 3])
    held.join()


def test_a_restore_is_cancelled_by_a_destroy(own: Daemon, tmp_path: Path) -> None:
    held = HeldRestore(own, tmp_path)
    own.ok("destroy", "web")
    held.join()
    assert "destroyed while it was started" in str(held.error)
    held.check_off()
