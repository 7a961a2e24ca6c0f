"""A domain with one disk whose bytes a model knows, through snapshots, block jobs and deaths.

Owns: the domain, its images, what their bytes should be. May not touch: another daemon's domains.
A guest's writes are QEMU's own (`qemu-io` of the human monitor), so no guest has to boot.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.clients.backup_model import Backups
from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import wait_until
from tests.clients.libvirt_binding import libvirt, libvirt_qemu

CHUNK: Final = 65536
CHUNKS: Final = 16
BACKEND: Final = "/machine/peripheral/virtio-disk0/virtio-backend"
RISKY: Final = libvirt.VIR_ERR_SNAPSHOT_REVERT_RISKY
SNAPSHOT: Final = "<domainsnapshot><name>{}</name></domainsnapshot>"
SUCCESSOR_S: Final = 45.0  # after many deaths the root waits 30 s before it starts one


class Machine:
    """A domain with one disk, what its bytes should be, and what each snapshot should hold."""

    def __init__(self, daemon: Daemon, folder: Path, seed: int) -> None:
        self.daemon, self.folder = daemon, folder
        self.random = random.Random(seed)
        self.bytes = [0] * CHUNKS
        self.snapshots: dict[str, list[int]] = {}
        self.count = 0
        self.log: list[str] = []
        image = folder / "disk.qcow2"
        size = str(CHUNK * CHUNKS)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, size], check=True)
        disk = (
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
            f"<source file='{image}'/><target dev='vda' bus='virtio'/></disk>"
        )
        folder.chmod(0o777)  # QEMU's user makes the sockets of its NBD servers in it
        self.backups = Backups(self, CHUNK)
        self.link = libvirt.open(daemon.uri)
        self.link.defineXML(idle("data", devices=disk))

    @property
    def domain(self) -> Any:
        """The domain, also after the daemon's processes were killed."""
        return self.link.lookupByName("data")

    @property
    def chain(self) -> list[str]:
        """The images that the live XML or the definition names."""
        disk = self.domain.XMLDesc(0).partition("<disk ")[2].partition("</disk>")[0]
        return re.findall(r"<source file='([^']*)'", disk.partition("<mirror")[0])

    def name(self, stem: str) -> str:
        """A new name."""
        self.count += 1
        return f"{stem}{self.count}"

    def write(self) -> None:
        """Write a pattern somewhere."""
        chunk, pattern = self.random.randrange(CHUNKS), self.random.randrange(1, 256)
        command = f"write -P {pattern} {chunk * CHUNK} {CHUNK}"
        if self.domain.isActive():
            # QEMU prints what was written to its log; only errors come back.
            line = f'qemu-io -d {BACKEND} "{command}"'
            answer = libvirt_qemu.qemuMonitorCommand(self.domain, line, 1)
            assert not answer.strip(), answer
        else:
            self.qemu_io(self.chain[0], command)
        self.bytes[chunk] = pattern

    def qemu_io(self, image: str, *commands: str, read_only: bool = False) -> str:
        """Run qemu-io on an image of a domain that is off."""
        options = ["-r"] if read_only else []
        for command in commands:
            options += ["-c", command]
        done = subprocess.run(
            ["qemu-io", *options, image], capture_output=True, text=True, timeout=60, check=False
        )
        # A wrong pattern is a failure, too; the log says what led to it.
        assert done.returncode == 0, f"{self.log} {image}: {done.stderr} {done.stdout}"
        return done.stdout

    def check(self) -> None:
        """Compare the disk with the model."""
        if self.domain.isActive():
            self.domain.destroy()
        self.read_either(self.bytes)

    def read_either(self, *models: list[int]) -> list[int]:
        """The model that the disk of a domain that is off holds; none of them fails."""
        top, wrong = self.chain[0], list[str]()
        for model in models:
            reads = [
                f"read -P {pattern} {chunk * CHUNK} {CHUNK}" for chunk, pattern in enumerate(model)
            ]
            try:
                self.qemu_io(top, *reads, read_only=True)
            except AssertionError as error:
                wrong.append(str(error))
            else:
                return list(model)
        raise AssertionError(wrong)

    def on_checkpoint(self, name: str) -> None:
        """A backup has made a checkpoint."""

    def on_checkpoints_gone(self) -> None:
        """All checkpoints were deleted."""

    # What may happen.

    def start(self) -> None:
        if not self.domain.isActive():
            self.domain.create()

    def power_off(self) -> None:
        if self.domain.isActive():
            self.domain.destroy()

    def kill(self) -> None:
        """Kill a process of the daemon, and wait for its successor."""
        names = ["domd", *(["qemu:data"] if self.domain.isActive() else [])]
        victim = self.random.choice(names)
        self.log[-1] += f" ({victim} killed)"
        self.kill_one(victim)

    def kill_one(self, victim: str) -> None:
        """Kill a process by its name, and wait for its successor."""
        former = self.running(victim)
        self.kill_if_there(former)
        self.wait_successor(victim, former)
        wait_until("the domain answers", self.answers)

    @staticmethod
    def kill_if_there(pid: int) -> None:
        """Kill a process that may have ended in order."""
        assert pid, "0 is the tests' own process group"
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def pid_of(self, name: str) -> int:
        """The pid of a running process of the daemon; 0 for none."""
        rows = [row for row in self.daemon.status() if row["name"] == name]
        return int(rows[0]["pid"]) if rows and rows[0]["state"] == "running" else 0

    def wait_successor(self, name: str, former: int) -> None:
        """Wait until another process runs in a dead one's place."""
        wait_until(f"another {name}", lambda: self.pid_of(name) not in (0, former), SUCCESSOR_S)

    def running(self, name: str) -> int:
        """The pid of a process of the daemon, once it runs: 0 would be the tests' own group."""
        found: list[int] = []

        def runs() -> bool:
            found.append(self.pid_of(name))
            return found[-1] != 0  # a moment later it may have been replaced by a smaller one

        wait_until(f"a running {name}", runs)
        return found[-1]

    def answers(self) -> bool:
        """Whether the guest can be asked, if there is one."""
        try:
            if self.domain.isActive():
                libvirt_qemu.qemuMonitorCommand(self.domain, "info version", 1)
        except libvirt.libvirtError:
            return False
        return True

    def overlay_amid_death(self) -> None:
        """Kill the worker or domd while a snapshot is made: it is made, or it is not."""
        if not self.domain.isActive():
            return
        name = self.name("d")
        victim = self.random.choice(["domd", "qemu:data"])
        pid = self.running(victim)
        xml, flags = self.external(name)
        pause = self.random.random() * (0.3 if "<memory" in xml else 0.05)
        self.log[-1] += f" ({victim} killed after {pause:.3f} s)"
        killer = threading.Timer(pause, self.kill_if_there, (pid,))
        killer.start()
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.snapshotCreateXML(xml, flags)
        killer.join()
        self.wait_successor(victim, pid)
        wait_until("the domain answers", self.answers)
        wait_until(
            "the guest runs on", lambda: self.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        )
        # Without a record nobody can go back to it.
        if name in [snapshot.getName() for snapshot in self.domain.listAllSnapshots()]:
            self.snapshots[name] = list(self.bytes)
        else:
            self.forget_snapshots()

    def overlay(self) -> None:
        name = self.name("s")
        if not self.domain.isActive():
            self.backups.forget()  # libvirt 9.0 refuses it beside checkpoints
        self.domain.snapshotCreateXML(*self.external(name))
        self.snapshots[name] = list(self.bytes)

    def external(self, name: str) -> tuple[str, int]:
        """XML and flags of a snapshot in overlays; perhaps with its memory in a file."""
        if self.domain.isActive() and self.random.random() < 0.3:
            memory = f"<memory snapshot='external' file='{self.folder / name}.memory'/>"
            return f"<domainsnapshot><name>{name}</name>{memory}</domainsnapshot>", 0
        return SNAPSHOT.format(name), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY

    def commit(self) -> None:
        """Merge some images: the snapshots in between mean nothing any more."""
        if not self.domain.isActive() or len(self.chain) < 2:
            return
        self.forget_snapshots()
        chain = self.chain
        top = self.random.randrange(len(chain) - 1)
        base = self.random.randrange(top + 1, len(chain))
        flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_DELETE
        if top == 0:
            flags |= libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
        self.domain.blockCommit("vda", chain[base], chain[top], 0, flags)
        self.finish(pivot=top == 0)

    def pull(self) -> None:
        if not self.domain.isActive() or len(self.chain) < 2:
            return
        self.forget_snapshots()
        chain = self.chain
        base = self.random.choice([None, *chain[1:]])
        self.domain.blockRebase("vda", base, 0, 0)
        self.finish(pivot=False)

    def copy(self) -> None:
        if not self.domain.isActive():
            return
        self.forget_snapshots()
        target = self.folder / self.name("copy")
        xml = f"<disk type='file'><source file='{target}'/><driver type='qcow2'/></disk>"
        flags = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
        if self.random.random() < 0.5:
            flags |= libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
        self.domain.blockCopy("vda", xml, {}, flags)
        self.finish(pivot=True)

    def finish(self, *, pivot: bool) -> None:
        """Write while a job runs, perhaps kill a process, and end the job in one way or another."""
        self.write()
        if self.random.random() < 0.3:
            self.kill()
        if not pivot:
            wait_until("the job's end", lambda: not self.info())
            return
        wait_until(
            "a job that is ready",
            lambda: not self.info() or "ready='yes'" in self.domain.XMLDesc(0),
        )
        self.write()
        flags = libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT if self.random.random() < 0.7 else 0
        self.domain.blockJobAbort("vda", flags)

    def info(self) -> Any:
        """The block job; true while nobody can be asked."""
        try:
            return self.domain.blockJobInfo("vda")
        except libvirt.libvirtError:
            return True

    def revert(self) -> None:
        if self.snapshots:
            self.backups.forget()  # libvirt 9.0 refuses it beside checkpoints
            name = self.random.choice(sorted(self.snapshots))
            self.domain.revertToSnapshot(self.domain.snapshotLookupByName(name), 0)
            self.bytes = list(self.snapshots[name])

    def delete(self) -> None:
        """Delete a snapshot: the disk's bytes stay."""
        if self.snapshots:
            name = self.random.choice(sorted(self.snapshots))
            with contextlib.suppress(libvirt.libvirtError):  # some of the tree cannot be deleted
                self.domain.snapshotLookupByName(name).delete()
                del self.snapshots[name]

    def forget_snapshots(self) -> None:
        for snapshot in self.domain.listAllSnapshots():
            snapshot.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)
        self.snapshots.clear()

    def backup(self) -> None:
        """Back the disk up, while it is written to and perhaps a process is killed."""
        if self.domain.isActive():
            pull, kill = self.random.random() < 0.5, self.random.random() < 0.3
            self.log[-1] += " pull" if pull else " push"
            self.backups.take(pull=pull, kill=kill)

    def backup_amid_death(self) -> None:
        """Kill the worker or domd while a backup begins."""
        if self.domain.isActive():
            victim, pause = self.random.choice(["domd", "qemu:data"]), self.random.random() * 0.1
            self.log[-1] += f" ({victim} killed after {pause:.3f} s)"
            self.backups.begin_amid_death(victim, pause, pull=self.random.random() < 0.5)

    def steps(self) -> Sequence[Callable[[], None]]:
        """What may happen next, the likelier the more often it is listed."""
        return (
            *(self.start, self.start, self.power_off, self.kill, self.overlay_amid_death),
            *(self.overlay, self.overlay, self.overlay, self.revert, self.delete),
            *(self.commit, self.commit, self.pull, self.copy),
            *(self.backup, self.backup, self.backup, self.backup_amid_death),
        )

    def step(self) -> None:
        """Do something."""
        what = self.random.choice(self.steps())
        self.log.append(what.__name__)
        what()
        self.write()

    def check_snapshots(self) -> None:
        """Revert to each snapshot: it has the bytes of its moment."""
        self.backups.forget()
        for name, held in list(self.snapshots.items()):
            self.log.append(f"revert {name}")
            try:
                self.domain.revertToSnapshot(self.domain.snapshotLookupByName(name), 0)
            except libvirt.libvirtError as error:
                if error.get_error_code() != RISKY:
                    raise
                continue  # it would change what others consist of
            self.bytes = held
            self.check()
