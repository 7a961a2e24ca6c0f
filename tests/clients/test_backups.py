"""Backups through stock clients: the bytes of one moment, what is refused, and what deaths leave.

The guest's writes are QEMU's own (`qemu-io` of the human monitor), so no guest has to boot.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pexpect
import pytest

from tests.certificates import CLIENT, SERVER, Issued, authority, issue
from tests.clients.conftest import open_directory
from tests.clients.daemon import VIRSH, Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import EventLoop, Watch, wait_until
from tests.clients.guest import Guest
from tests.clients.libvirt_binding import libvirt, libvirt_qemu
from tests.clients.namespace import own_mounts, shown

pytestmark = pytest.mark.skipif(shutil.which("qemu-io") is None, reason="qemu-io is not installed")
MIB: Final = 1 << 20
SIZE: Final = 4 * MIB
SINCE: Final = "<domaincheckpoint><name>c1</name></domaincheckpoint>"
COMPLETED: Final = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED
BACKUP: Final = libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP


def make(image: Path) -> None:
    """Make an empty image."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(SIZE)], check=True)


class Machine:
    """A running domain with two disks."""

    def __init__(self, link: Any, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o777)  # QEMU's user makes its socket in it
        disks = ""
        for number, name in enumerate(("vda", "vdb")):
            image = folder / f"{name}.qcow2"
            make(image)
            disks += (
                "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
                f"<source file='{image}'/><target dev='{name}' bus='virtio'/>"
                f"<alias name='ua-{number}'/></disk>"
            )
        self.domain = link.defineXML(idle("backed", devices=disks))
        self.domain.create()

    def write(self, pattern: int, offset: int = 0, length: int = SIZE, disk: int = 0) -> None:
        """Have QEMU write as the guest does."""
        backend = f"/machine/peripheral/ua-{disk}/virtio-backend"
        line = f'qemu-io -d {backend} "write -P {pattern} {offset} {length}"'
        assert not libvirt_qemu.qemuMonitorCommand(self.domain, line, 1).strip()

    def push(
        self, *names: str, flags: int = 0, since: str = "", checkpoint: str | None = None
    ) -> list[Path]:
        """Begin a push; the targets."""
        targets = [self.folder / f"{name}.backup" for name in names]
        disks = "".join(
            f"<disk name='{name}' type='file'><target file='{target}'/></disk>"
            for name, target in zip(names, targets, strict=True)
        )
        incremental = f"<incremental>{since}</incremental>" if since else ""
        xml = f"<domainbackup>{incremental}<disks>{disks}</disks></domainbackup>"
        self.domain.backupBegin(xml, checkpoint, flags)
        return targets

    @property
    def socket(self) -> Path:
        """Where the server of a pull listens."""
        return self.folder / "nbd.sock"

    def pull(self, server: str = "", inside: str = "", checkpoint: str | None = None) -> None:
        """Begin a pull of both disks."""
        server = server or f"<server transport='unix' socket='{self.socket}'/>"
        disks = "".join(
            f"<disk name='{name}' type='file'><scratch file='{self.folder}/{name}.scratch'/></disk>"
            for name in ("vda", "vdb")
        )
        self.domain.backupBegin(
            f"<domainbackup mode='pull'>{inside}{server}<disks>{disks}</disks></domainbackup>",
            checkpoint,
        )

    def export(self, name: str) -> str:
        """The address of a disk that is pulled."""
        return f"nbd+unix:///{name}?socket={self.socket}"

    def wait_ended(self) -> dict[str, Any]:
        """Wait for the end of the backup; its statistics."""
        wait_until("the end of the backup", lambda: self.domain.jobInfo()[0] == 0)
        found: dict[str, Any] = self.domain.jobStats(COMPLETED)
        return found

    @property
    def files(self) -> set[str]:
        """What is in the folder."""
        return {path.name for path in self.folder.iterdir()} - {"vda.qcow2", "vdb.qcow2"}

    @property
    def nodes(self) -> str:
        """QEMU's jobs, exports and block nodes."""
        text = ""
        for command in ("query-jobs", "query-block-exports", "query-named-block-nodes"):
            text += libvirt_qemu.qemuMonitorCommand(self.domain, f'{{"execute":"{command}"}}', 0)
        return text


@pytest.fixture
def machine(daemon: Daemon) -> Iterator[Machine]:
    """A machine in a folder of its own."""
    EventLoop.start()
    with open_directory() as folder:
        made = Machine(libvirt.open(daemon.uri), folder)
        yield made
        with contextlib.suppress(libvirt.libvirtError):
            made.domain.destroy()
        made.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)


def holds(image: Path | str, pattern: int, length: int = SIZE, form: str = "qcow2") -> bool:
    """Whether an image begins with so many bytes of a pattern."""
    command = ["qemu-io", "-r", "-f", form, "-c", f"read -P {pattern} 0 {length}", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return "verification failed" not in done.stdout


def test_a_push_has_the_bytes_of_its_begin(machine: Machine) -> None:
    ends = Watch(machine.domain.connect(), libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2)
    machine.write(1)
    targets = machine.push("vda", "vdb")
    machine.write(2)
    stats = machine.wait_ended()
    assert (stats["type"], stats["success"], stats["operation"]) == (
        libvirt.VIR_DOMAIN_JOB_COMPLETED,
        True,
        libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP,
    )
    assert stats["disk_total"] == stats["disk_processed"] == 2 * SIZE
    assert [holds(target, pattern) for target, pattern in zip(targets, (1, 0), strict=True)] == [
        True,
        True,
    ]
    ends.wait_for("backed", "vdb", BACKUP, libvirt.VIR_DOMAIN_BLOCK_JOB_COMPLETED)
    ends.close()
    assert machine.files == {"vda.backup", "vdb.backup"}
    assert "backup" not in machine.nodes
    assert {os.stat(target).st_uid for target in targets} == {os.geteuid()}


def test_a_pull_exports_the_bytes_of_its_begin(machine: Machine, daemon: Daemon) -> None:
    machine.write(1)
    machine.pull()
    machine.write(2, length=MIB)
    assert holds(machine.export("vda"), 1, form="raw")
    shown = daemon.ok("backup-dumpxml", "backed")
    assert "<disk name='vda' backup='yes' type='file' backupmode='full' exportname='vda'" in shown
    stats: dict[str, Any] = {}

    def is_told() -> bool:  # a QEMU that does not answer at once is not waited for
        stats.update(machine.domain.jobStats())
        return "disk_temp_used" in stats

    wait_until("QEMU's figures", is_told)
    assert (stats["disk_temp_used"], stats["disk_temp_total"]) == (MIB, 2 * SIZE)
    assert machine.domain.blockJobInfo("vda")["type"] == BACKUP
    with pytest.raises(libvirt.libvirtError, match="already in active block job"):
        machine.domain.blockPull("vda")
    daemon.ok("domjobabort", "backed")
    assert machine.wait_ended()["success"]
    assert machine.files == set()
    assert "scratch" not in machine.nodes
    with pytest.raises(libvirt.libvirtError, match="no domain backup job present"):
        machine.domain.backupGetXMLDesc()


def extents(image: str, **wanted: object) -> list[tuple[int, int]]:
    """Where an image is so: the beginnings and lengths."""
    command = ["qemu-img", "map", "--output=json", "--image-opts", image]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    return [
        (part["start"], part["length"])
        for part in json.loads(done.stdout)
        if all(part[name] == value for name, value in wanted.items())
    ]


def test_an_incremental_push_has_what_was_written_since(machine: Machine) -> None:
    machine.write(1)
    machine.push("vda", "vdb", checkpoint=SINCE)
    machine.wait_ended()
    machine.write(2, offset=MIB, length=MIB)
    for target in machine.folder.glob("*.backup"):
        target.unlink()
    target, other = machine.push("vda", "vdb", since="c1")
    assert machine.wait_ended()["success"]
    opened = f"driver=qcow2,file.filename={target}"
    assert extents(opened, data=True, zero=False) == [(MIB, MIB)]
    assert extents(f"driver=qcow2,file.filename={other}", data=True, zero=False) == []
    assert machine.domain.listAllCheckpoints()[0].getName() == "c1"
    assert "backup-vda" not in machine.nodes


def test_an_incremental_pull_says_what_was_written_since(machine: Machine) -> None:
    machine.pull(checkpoint=SINCE)
    machine.write(3, length=2 * MIB)
    machine.domain.abortJob()
    machine.wait_ended()
    machine.pull(inside="<incremental>c1</incremental>", checkpoint=SINCE.replace("c1", "c2"))
    machine.write(4, offset=3 * MIB, length=MIB)  # belongs to the next one
    dirty = (
        f"driver=nbd,server.type=unix,server.path={machine.socket},export=vda,"
        "x-dirty-bitmap=qemu:dirty-bitmap:backup-vda"
    )
    # QEMU shows what a bitmap has as unallocated.
    assert extents(dirty, data=False) == [(0, 2 * MIB)]
    machine.domain.abortJob()
    machine.wait_ended()
    (target,) = machine.push("vda", since="c2")
    machine.wait_ended()
    opened = f"driver=qcow2,file.filename={target}"
    assert extents(opened, data=True, zero=False) == [(3 * MIB, MIB)]


def test_a_checkpoint_of_a_refused_backup_has_never_been(machine: Machine) -> None:
    server = "<server transport='unix' socket='/nowhere/nbd'/>"
    with pytest.raises(libvirt.libvirtError, match="Failed to bind socket"):
        machine.pull(server, checkpoint=SINCE)
    assert machine.domain.listAllCheckpoints() == []
    assert '"c1"' not in machine.nodes
    with pytest.raises(libvirt.libvirtError) as refused:
        machine.push("vda", since="c1")
    assert refused.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT
    assert machine.files == set()
    machine.push("vda", checkpoint=SINCE)
    machine.wait_ended()
    assert len(machine.domain.listAllCheckpoints()) == 1


def test_a_scratch_image_that_fills_up_can_be_watched(machine: Machine, daemon: Daemon) -> None:
    crossed = Watch(machine.domain.connect(), libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD)
    machine.write(1)
    machine.pull()
    match = re.search("name='vda' .* index='([0-9]+)'", machine.domain.backupGetXMLDesc())
    assert match is not None
    name, scratch = f"vda[{match[1]}]", str(machine.folder / "vda.scratch")
    daemon.ok("domblkthreshold", "backed", name, str(MIB))
    machine.write(2)
    event = crossed.next()
    crossed.close()
    assert event[:4] == ("backed", name, scratch, MIB)
    machine.domain.abortJob()
    machine.wait_ended()


def test_a_target_that_is_there_is_used_on_request_alone(machine: Machine) -> None:
    target = machine.folder / "vda.backup"
    make(target)
    with pytest.raises(libvirt.libvirtError, match="for backup of 'vda' exists") as refused:
        machine.push("vda")
    assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
    assert machine.domain.jobStats(COMPLETED) == {"type": libvirt.VIR_DOMAIN_JOB_NONE}
    machine.write(3)
    machine.push("vda", flags=libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
    assert machine.wait_ended()["success"]
    assert holds(target, 3)


def test_an_export_that_cannot_be_ends_what_has_begun(machine: Machine) -> None:
    disks = "".join(
        f"<disk name='{name}' type='file' exportname='x'>"
        f"<scratch file='{machine.folder}/{name}.scratch'/></disk>"
        for name in ("vda", "vdb")
    )
    server = f"<server transport='unix' socket='{machine.socket}'/>"
    xml = f"<domainbackup mode='pull'>{server}<disks>{disks}</disks></domainbackup>"
    with pytest.raises(libvirt.libvirtError, match="already has export named 'x'"):
        machine.domain.backupBegin(xml, None)
    machine.wait_ended()
    assert machine.files == set()
    machine.pull()
    machine.domain.abortJob()
    machine.wait_ended()


@pytest.mark.parametrize("victim", ["qemu:backed", "domd", "root"])
def test_a_pull_survives_the_death_of_a_process(
    machine: Machine, daemon: Daemon, victim: str
) -> None:
    machine.write(1)
    machine.pull()
    machine.write(2)
    if victim == "root":
        daemon.kill()
        daemon.start()
        fresh = libvirt.open(daemon.uri)
        machine.domain = fresh.lookupByName("backed")
    else:
        former = pid_of(daemon, victim)
        os.kill(former, signal.SIGKILL)
        wait_until("a successor", lambda: pid_of(daemon, victim) not in (0, former))
    wait_until("the backup is known", lambda: knows_backup(machine))
    assert holds(machine.export("vda"), 1, form="raw")
    assert machine.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    machine.domain.abortJob()
    assert machine.wait_ended()["success"]
    assert machine.files == set()


def pid_of(daemon: Daemon, name: str) -> int:
    """The pid of a running process of the daemon; 0 for none."""
    rows = [row for row in daemon.status() if row["name"] == name]
    return int(rows[0]["pid"]) if rows and rows[0]["state"] == "running" else 0


def knows_backup(machine: Machine) -> bool:
    """Whether the daemon describes the backup, and asks QEMU how far it is."""
    with contextlib.suppress(libvirt.libvirtError):
        return bool(machine.domain.backupGetXMLDesc()) and bool(machine.domain.blockJobInfo("vda"))
    return False


@pytest.mark.parametrize("way", ["destroy", "kill -9"])
def test_the_end_of_the_guest_is_the_end_of_its_backup(
    machine: Machine, daemon: Daemon, way: str
) -> None:
    machine.pull()
    if way == "destroy":
        machine.domain.destroy()
    else:
        os.kill(next(daemon.emulators()), signal.SIGKILL)
        wait_until("the end of the guest", lambda: not machine.domain.isActive())
    stats = machine.domain.jobStats(COMPLETED)
    assert (stats["type"], stats["success"]) == (libvirt.VIR_DOMAIN_JOB_CANCELLED, False)
    assert machine.files == set()


def test_one_disk_without_room_ends_the_backup_and_not_the_guest() -> None:
    EventLoop.start()
    with own_mounts(), open_directory() as folder, Daemon() as daemon:
        small = folder / "small"
        small.mkdir()
        shown("mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "small", str(small))
        machine = Machine(libvirt.open(daemon.uri), folder)
        machine.write(1)
        disks = (
            f"<disk name='vda' type='file'><target file='{small}/a'/></disk>"
            f"<disk name='vdb' type='file'><target file='{folder}/b'/></disk>"
        )
        machine.domain.backupBegin(f"<domainbackup><disks>{disks}</disks></domainbackup>", None)
        stats = machine.wait_ended()
        assert stats["type"] == libvirt.VIR_DOMAIN_JOB_FAILED
        assert stats["errmsg"] == "No space left on device"
        assert machine.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        assert (machine.files, list(small.iterdir())) == ({"small"}, [])
        machine.domain.destroy()


def write_pair(folder: Path, name: str, ca: Issued, issued: Issued) -> None:
    """Write what QEMU reads of one end of TLS."""
    files = {
        "ca-cert.pem": ca.pem,
        f"{name}-cert.pem": issued.pem,
        f"{name}-key.pem": issued.key_pem,
    }
    for file, data in files.items():
        (folder / file).write_bytes(data)


def test_a_pull_with_tls_asks_clients_for_a_certificate() -> None:
    daemon = Daemon()
    with open_directory() as folder:
        ca = authority()
        pki, own = folder / "pki", folder / "own"
        pki.mkdir()
        own.mkdir()
        write_pair(pki, "server", ca, issue("localhost", ca, purpose=SERVER))
        write_pair(own, "client", ca, issue("client", ca, purpose=CLIENT))
        settings = daemon.root / "etc/libvirt/qemu.conf"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(f'backup_tls_x509_cert_dir = "{pki}"\nbackup_tls_x509_verify = 1\n')
        with daemon:
            _pull_with_tls(daemon, folder, own)


def _pull_with_tls(daemon: Daemon, folder: Path, own: Path) -> None:
    machine = Machine(libvirt.open(daemon.uri), folder)
    machine.write(5)
    machine.pull(f"<server tls='yes' transport='unix' socket='{machine.socket}'/>")
    image = (
        "driver=nbd,server.type=unix,export=vda,tls-hostname=localhost,"
        f"server.path={machine.socket},tls-creds=tls"
    )
    command = ["qemu-io", "-r", "--image-opts", "-c", f"read -P 5 0 {SIZE}", image]
    creds = f"tls-creds-x509,id=tls,endpoint=client,dir={own}"
    done = subprocess.run(
        [*command, "--object", creds], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "verification failed" not in done.stdout
    plain = ["qemu-img", "info", machine.export("vda")]
    assert subprocess.run(plain, capture_output=True, timeout=60, check=False).returncode
    machine.domain.abortJob()
    machine.wait_ended()
    assert "objbackup" not in machine.nodes
    machine.domain.destroy()


def test_a_scratch_image_without_room_ends_the_backup_and_not_the_guest(tiny: Guest) -> None:
    EventLoop.start()
    with own_mounts(), open_directory() as folder, Daemon() as daemon:
        small = folder / "small"
        small.mkdir()
        shown("mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "small", str(small))
        image, socket = folder / "a.qcow2", small / "nbd"
        make(image)
        filled = ["qemu-io", "-f", "qcow2", "-c", f"write -P 7 0 {SIZE}", str(image)]
        subprocess.run(filled, check=True, capture_output=True, timeout=60)
        disk = (
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
            f"<source file='{image}'/><target dev='vda' bus='virtio'/></disk>"
        )
        domain = libvirt.open(daemon.uri).createXML(booting("full", tiny, devices=disk))
        console = pexpect.spawn(VIRSH, ["-c", daemon.uri, "console", "full"], timeout=60)
        console.expect("login: ")
        console.sendline("root")
        console.expect("# ")
        domain.backupBegin(
            f"<domainbackup mode='pull'><server transport='unix' socket='{socket}'/><disks>"
            f"<disk name='vda' type='file'><scratch file='{small}/s'/></disk></disks>"
            "</domainbackup>",
            None,
        )
        console.sendline("dd if=/dev/zero of=/dev/vda bs=64k oflag=direct; echo it is $?.")
        console.expect("it is 1")  # the end of the disk
        wait_until("the end of the backup", lambda: domain.jobInfo()[0] == 0)
        stats = domain.jobStats(COMPLETED)
        assert (stats["type"], stats["errmsg"]) == (
            libvirt.VIR_DOMAIN_JOB_FAILED,
            "No space left on device",
        )
        assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        assert list(small.iterdir()) == []
        console.close(force=True)
        domain.destroy()
