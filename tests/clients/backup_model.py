"""Backups in the byte model of a disk (`disk_machine`): each must have the bytes of its begin.

Owns: the files of the backups, and what they should hold.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.clients.event_watch import wait_until
from tests.clients.libvirt_binding import libvirt

if TYPE_CHECKING:
    from tests.clients.disk_machine import Machine

CHECKPOINT: Final = "<domaincheckpoint><name>{}</name></domaincheckpoint>"
COMPLETED: Final = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED
#: What an incremental backup is refused with after what bitmaps cannot follow.
LOST: Final = (libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT, libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT)


@dataclass(frozen=True)
class Kept:
    """A backup that is there."""

    checkpoint: str
    image: Path | None  # of a push, with those before it below; None: of a pull
    bytes: list[int]


class Backups:
    """The backups of one machine's disk, each since the one before."""

    def __init__(self, machine: Machine, chunk: int) -> None:
        self.machine, self.chunk = machine, chunk
        self.last: Kept | None = None

    def take(self, *, pull: bool, kill: bool) -> None:
        """Make a backup since the last one, or of everything."""
        name = self.machine.name("backup")
        try:
            self._take(name, self.last, pull=pull, kill=kill)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in LOST or self.last is None:
                raise
            self.forget()
            self._take(name, None, pull=pull, kill=kill)

    def forget(self) -> None:
        """Begin anew: what was written since is not known any more."""
        self.last = None
        domain = self.machine.domain
        checkpoints, was_off = domain.listAllCheckpoints(), not domain.isActive()
        if checkpoints and was_off:
            domain.create()  # else their bitmaps would stay, and QEMU revert to no snapshot
        for checkpoint in checkpoints:
            try:
                checkpoint.delete()
            except libvirt.libvirtError:
                checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
        if checkpoints and was_off:
            domain.destroy()
        self.machine.on_checkpoints_gone()

    def _take(self, name: str, since: Kept | None, *, pull: bool, kill: bool) -> None:
        machine, expected = self.machine, list(self.machine.bytes)
        store = machine.folder / f"{name}.qcow2"
        machine.domain.backupBegin(self.xml(store, since, pull=pull), CHECKPOINT.format(name))
        machine.on_checkpoint(name)
        machine.write()  # after its begin
        if kill:
            machine.kill()
        kept = Kept(name, None if pull else store, expected)
        if pull:
            self._check_pull(since, kept)
            machine.domain.abortJob()
        self.wait_ended()
        if not pull:
            stats = machine.domain.jobStats(COMPLETED)
            # A domd that was killed at this moment does not know of it.
            assert stats.get("success", True), (machine.log, stats)
            kept = self._check_push(since, kept)
        self.last = kept

    def xml(self, store: Path, since: Kept | None, *, pull: bool) -> str:
        """The document."""
        mode, tag = ("pull", "scratch") if pull else ("push", "target")
        server = f"<server transport='unix' socket='{self.socket}'/>" if pull else ""
        incremental = f"<incremental>{since.checkpoint}</incremental>" if since else ""
        return (
            f"<domainbackup mode='{mode}'>{incremental}{server}<disks>"
            f"<disk name='vda' type='file'><{tag} file='{store}'/></disk></disks></domainbackup>"
        )

    @property
    def socket(self) -> Path:
        """Where the server of a pull listens."""
        return self.machine.folder / "nbd"

    def wait_ended(self) -> None:
        """Wait for the backup's end."""

        def ended() -> bool:
            with contextlib.suppress(libvirt.libvirtError):
                return not self.machine.domain.jobInfo()[0]
            return False

        wait_until("the end of the backup", ended)

    def _check_push(self, since: Kept | None, kept: Kept) -> Kept:
        """Compare a target, with the backups before it below, with the model."""
        assert kept.image is not None
        if since is not None and since.image is None:  # a pull keeps no image: a full one, instead
            return Kept(kept.checkpoint, None, kept.bytes)
        if since is not None:
            below = ["-b", str(since.image), "-F", "qcow2"]
            run("qemu-img", "rebase", "-q", "-u", *below, str(kept.image))
        self._compare(f"driver=qcow2,file.filename={kept.image}", kept.bytes)
        return kept

    def _check_pull(self, since: Kept | None, kept: Kept) -> None:
        """Compare an export with the model, and what it calls unchanged with the last backup."""
        export = f"driver=nbd,server.type=unix,server.path={self.socket},export=vda"
        self._compare(export, kept.bytes)
        if since is None:
            return
        noted = f"{export},x-dirty-bitmap=qemu:dirty-bitmap:backup-vda"
        parts = json.loads(run("qemu-img", "map", "--output=json", "--image-opts", noted))
        for part in parts:
            if part["data"]:  # as QEMU shows what is not in the bitmap
                first, last = part["start"] // self.chunk, -(-part["length"] // self.chunk)
                place = slice(first, first + last)
                assert since.bytes[place] == kept.bytes[place], self.machine.log

    def _compare(self, image: str, expected: list[int]) -> None:
        reads: list[str] = []
        for place, pattern in enumerate(expected):
            reads += ["-c", f"read -P {pattern} {place * self.chunk} {self.chunk}"]
        said = run("qemu-io", "-r", "--image-opts", *reads, image)
        assert "verification failed" not in said, (self.machine.log, image)

    def begin_amid_death(self, victim: str, pause: float, *, pull: bool) -> None:
        """Kill a process while a backup begins: it has begun, or nothing is left of it."""
        machine, name = self.machine, self.machine.name("dead")
        pid = machine.running(victim)
        killer = threading.Timer(pause, machine.kill_if_there, (pid,))
        killer.start()
        store = machine.folder / f"{name}.qcow2"
        with contextlib.suppress(libvirt.libvirtError):
            machine.domain.backupBegin(self.xml(store, None, pull=pull), CHECKPOINT.format(name))
        killer.join()
        wait_until(f"another {victim}", lambda: machine.pid_of(victim) not in (0, pid))
        wait_until("the domain answers", machine.answers)

        def ended() -> bool:
            with contextlib.suppress(libvirt.libvirtError):
                machine.domain.abortJob()
            return not self._has_job()

        wait_until("the end of what has begun", ended)
        assert machine.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING, machine.log
        assert not (pull and store.exists()), machine.log

    def _has_job(self) -> Any:
        """Whether a job is under way; true while nobody can be asked."""
        try:
            return self.machine.domain.jobInfo()[0]
        except libvirt.libvirtError:
            return True


def run(*command: str) -> str:
    """Run a program that is to succeed; what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout
