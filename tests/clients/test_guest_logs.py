"""What a guest prints is in files that do not grow without end, whichever process is killed."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import wait_until
from tests.clients.libvirt_binding import libvirt
from tests.clients.namespace import own_mounts, shown

MAX_SIZE: Final = 20_000
BACKUPS: Final = 3
READS: Final = 100  # of files that are rotated while they are read
#: A boot sector that writes lines "AAAA", "AAAB", … "PPPP", "AAAA" to the first serial port.
CHATTER: Final = bytes.fromhex(
    "31db"  # xor bx, bx
    "b90400"  # line: mov cx, 4
    "c1c304 88dc 80e40f 80c441"  # digit: rol bx, 4; the letter of its low four bits in ah
    "e80a00 e2f0"  # call put; loop digit
    "b40a e80300"  # a newline
    "43 ebe5"  # inc bx; jmp line
    "bafd03 ec a820 74fb"  # put: wait until the port takes a byte
    "baf803 88e0 ee c3"  # write it
)


@dataclass
class Chatterer:
    """A guest that prints all the time, and its files."""

    daemon: Daemon
    serial: Path  # of the serial port, type='file'
    log: Path  # its <log>, on a disk that becomes full

    def qemu(self) -> int:
        (pid,) = self.daemon.emulators()
        return pid

    def pid_of(self, name: str) -> int:
        return next((int(r["pid"]) for r in self.daemon.status() if r["name"] == name), 0)


def lines_of(path: Path) -> list[str]:
    """Every line that is there yet, the oldest first; the last one may be half written."""
    rotated = [path.with_name(f"{path.name}.{number}") for number in reversed(range(BACKUPS))]
    files = (*rotated, path)
    for _ in range(READS):
        before, text = _inodes(files), "".join(map(_text, files))
        is_whole = before[-1] or not any(before)  # between two names while it is rotated
        if is_whole and _inodes(files) == before:
            return text.split("\n")[:-1]
    raise AssertionError(f"{path} is rotated faster than it can be read")


def _inodes(files: Iterable[Path]) -> list[int]:
    return [_inode(file) for file in files]


def _inode(file: Path) -> int:
    try:
        return file.stat().st_ino
    except FileNotFoundError:
        return 0


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


def value(line: str) -> int:
    number = 0
    for letter in line:
        number = number * 16 + ord(letter) - ord("A")
    return number


def gaps(path: Path) -> set[int]:
    """Find where numbers are missing in the output of a guest that is paused."""
    values = [value(line) for line in lines_of(path)]
    return {after for before, after in itertools.pairwise(values) if (before + 1) % 65536 != after}


def wait_growth(path: Path) -> None:
    """Wait for new output."""
    before = lines_of(path)[-1:]
    wait_until("output of the guest", lambda: lines_of(path)[-1:] != before, 20)


def pipes_of(root: Path) -> set[Path]:
    return set((root / "run/libvirt/logd").glob("*.fifo"))


def is_gone(pid: int) -> bool:
    """Return whether a process has exited; nobody may have waited for it."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return True


@pytest.fixture(scope="module")
def guest() -> Iterator[Chatterer]:
    with own_mounts():
        daemon = Daemon()
        (daemon.root / "etc/libvirt").mkdir(parents=True)
        conf = f"max_size = {MAX_SIZE}\nmax_backups = {BACKUPS}\n"
        (daemon.root / "etc/libvirt/virtlogd.conf").write_text(conf)
        image = daemon.root / "chatter.img"
        image.write_bytes(CHATTER.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
        small = daemon.root / "small"
        small.mkdir()
        shown("mount", "-t", "tmpfs", "-o", "size=48k", "small", str(small))
        devices = (
            "<controller type='virtio-serial'/>"
            f"<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            f"<source file='{image}'/><target dev='hda' bus='ide'/></disk>"
        )
        serial = (
            f"<serial type='file'><source path='{daemon.root}/serial'/>"
            f"<log file='{small}/log' append='off'/></serial>"
        )
        xml = idle("chatter", devices=devices)
        xml = xml.replace("<serial type='pty'/><console type='pty'/>", serial)
        with daemon:
            link = libvirt.open(daemon.uri)
            link.createXML(xml)
            link.close()
            yield Chatterer(daemon, daemon.root / "serial", small / "log")


def test_logs_have_their_size_and_number(guest: Chatterer) -> None:
    wait_until("rotation", guest.serial.with_name("serial.2").exists, 60)
    files = {path.name: path for path in guest.daemon.root.glob("serial*")}
    assert set(files) == {"serial", "serial.0", "serial.1", "serial.2"}
    assert all(path.stat().st_size <= MAX_SIZE for path in files.values())
    assert guest.serial.stat().st_mode & 0o777 == 0o600


def test_qemu_has_pipes_and_none_of_the_files(guest: Chatterer) -> None:
    folder = Path(f"/proc/{guest.qemu()}/fd")
    targets = [os.readlink(entry) for entry in folder.iterdir()]
    assert not [target for target in targets if "serial" in target or target.endswith("log")]
    fifos = {target for target in targets if "/run/libvirt/logd/" in target}
    assert len(fifos) == 3  # standard output and error, the serial port, its <log>


def test_a_full_disk_stops_no_guest(guest: Chatterer) -> None:
    lost = "output of 'chatter' is lost: [Errno 28] No space left on device"
    wait_until("a full disk", lambda: lost in guest.daemon.log.read_text(), 60)
    wait_growth(guest.serial)
    assert "running" in guest.daemon.ok("domstate", "chatter")


def test_nothing_is_lost_with_the_worker_or_the_root(guest: Chatterer) -> None:
    qemu, logd = guest.qemu(), guest.pid_of("logd")
    os.kill(guest.pid_of("qemu:chatter"), signal.SIGKILL)
    wait_growth(guest.serial)
    guest.daemon.kill()
    for _ in range(3):
        wait_growth(guest.serial)  # logd has outlived the root
    guest.daemon.start()
    wait_until("another logd", lambda: guest.pid_of("logd") not in (0, logd), 20)
    assert is_gone(logd)
    for _ in range(3):
        wait_growth(guest.serial)
    assert guest.qemu() == qemu
    guest.daemon.ok("suspend", "chatter")
    missing = gaps(guest.serial)
    guest.daemon.ok("resume", "chatter")
    assert missing == set()


def test_the_guest_runs_on_when_logd_is_killed(guest: Chatterer) -> None:
    qemu, logd = guest.qemu(), guest.pid_of("logd")
    os.kill(logd, signal.SIGKILL)
    wait_until("another logd", lambda: guest.pid_of("logd") not in (0, logd), 20)
    wait_growth(guest.serial)
    assert guest.qemu() == qemu
    assert "running" in guest.daemon.ok("domstate", "chatter")


def test_an_error_of_qemu_is_in_the_answer_and_in_the_log(guest: Chatterer) -> None:
    document = guest.daemon.root / "wrong.xml"
    top = "<qemu:commandline><qemu:arg value='-nonsense'/></qemu:commandline>"
    space = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
    document.write_text(idle("wrong", top=top).replace("<domain ", f"<domain {space} "))
    done = guest.daemon.virsh("create", str(document))
    assert "-nonsense: invalid option" in done.stderr
    log = guest.daemon.root / "var/log/libvirt/qemu/wrong.log"
    assert "starting up virtvisor" in log.read_text()
    assert "-nonsense: invalid option" in log.read_text()


def test_a_log_that_another_guest_writes_is_refused(guest: Chatterer) -> None:
    document = guest.daemon.root / "second.xml"
    serial = f"<serial type='file'><source path='{guest.serial}'/></serial>"
    document.write_text(idle("second").replace("<serial type='pty'/><console type='pty'/>", serial))
    done = guest.daemon.virsh("create", str(document))
    assert f"Cannot open log file: '{guest.serial}'" in done.stderr
    assert not list((guest.daemon.root / "run/libvirt/qemu").glob("second*"))


def test_a_channel_comes_with_its_log_and_goes_again(guest: Chatterer) -> None:
    root = guest.daemon.root
    document = root / "channel.xml"
    document.write_text(
        f"<channel type='file'><source path='{root}/channel'/><log file='{root}/channel.log'/>"
        "<target type='virtio' name='org.test.0'/></channel>"
    )
    pipes = pipes_of(root)
    for _ in range(2):  # the files are free for the next one
        guest.daemon.ok("attach-device", "chatter", str(document))
        assert {"channel", "channel.log"} <= {path.name for path in root.glob("channel*")}
        guest.daemon.ok("detach-device", "chatter", str(document))
    wait_until("the pipes' end", lambda: pipes_of(root) == pipes, 10)
    document.write_text(document.read_text().replace(f"{root}/channel.log", "/missing/log"))
    refused = guest.daemon.virsh("attach-device", "chatter", str(document))
    assert "Cannot open log file: '/missing/log': No such file or directory" in refused.stderr
    wait_until("the pipes' end", lambda: pipes_of(root) == pipes, 10)


def test_logd_ends_with_the_last_guest_and_the_daemon(guest: Chatterer) -> None:
    logd = guest.pid_of("logd")
    assert logd
    guest.daemon.ok("destroy", "chatter")
    folder = guest.daemon.root / "run/libvirt/logd"
    wait_until("the pipes' end", lambda: not list(folder.glob("*.fifo")), 10)
    assert guest.daemon.stop() == 0
    wait_until("logd's end", lambda: is_gone(logd), 10)
