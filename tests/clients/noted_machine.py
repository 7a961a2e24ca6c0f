"""The model of a disk (`disk_machine`) with checkpoints: what was written since each of them.

Owns: the checkpoints, and what they should have noted. May not touch: another daemon's domains.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.clients.daemon import Daemon
from tests.clients.disk_machine import BACKEND, CHUNK, Machine
from tests.clients.event_watch import wait_until
from tests.clients.libvirt_binding import libvirt, libvirt_qemu

NEW: Final = "<domaincheckpoint><name>{}</name></domaincheckpoint>"
SIZE: Final = libvirt.VIR_DOMAIN_CHECKPOINT_XML_SIZE | libvirt.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN


class NotedMachine(Machine):
    """A domain with one disk, and what was written to it since each checkpoint."""

    def __init__(self, daemon: Daemon, folder: Path, seed: int) -> None:
        super().__init__(daemon, folder, seed)
        self.since: dict[str, set[int]] = {}
        self.lost: set[str] = set()  # QEMU was killed: they may be refused, and must not be wrong

    def write(self) -> None:
        """Write a pattern somewhere, while the guest runs: checkpoints note nothing else."""
        if self.domain.isActive():
            self.write_noted()

    def write_noted(self) -> None:
        """Write a pattern somewhere, and note where."""
        before = list(self.bytes)
        super().write()
        pairs = enumerate(zip(before, self.bytes, strict=True))
        written = {chunk for chunk, (old, new) in pairs if old != new}
        for chunks in self.since.values():
            chunks |= written

    def checkpoint(self) -> None:
        if self.domain.isActive():
            name = self.name("c")
            self.domain.checkpointCreateXML(NEW.format(name), 0)
            self.since[name] = set()

    def checkpoint_amid_death(self) -> None:
        """Kill the worker or domd while a checkpoint is made or deleted: it is there, or not."""
        if not self.domain.isActive():
            return
        name = self.name("k")
        victim = self.random.choice(["domd", "qemu:data"])
        former = self.running(victim)
        doomed = self.random.choice([None, *sorted(self.since)])
        with self.killed_soon(former), contextlib.suppress(libvirt.libvirtError):
            if doomed is None:
                self.domain.checkpointCreateXML(NEW.format(name), 0)
            else:
                self.domain.checkpointLookupByName(doomed).delete()
        self.wait_successor(victim, former)
        wait_until("the domain answers", self.answers)
        found = {one.getName() for one in self.domain.listAllCheckpoints()}
        assert found - {name} - {doomed} == set(self.since) - {doomed}, self.log
        if name in found:
            self.since[name] = set()
        if doomed is not None and doomed not in found:
            del self.since[doomed]

    @contextlib.contextmanager
    def killed_soon(self, pid: int) -> Iterator[None]:
        """Kill a process somewhere in the middle of the body."""

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):  # a worker that was replaced
                os.kill(pid, signal.SIGKILL)

        assert pid, "0 is the tests' own process group"
        killer = threading.Timer(self.random.random() * 0.03, kill)
        killer.start()
        yield
        killer.join()

    def forget_checkpoint(self) -> None:
        if self.domain.isActive() and self.since:
            name = self.random.choice(sorted(self.since))
            with contextlib.suppress(libvirt.libvirtError):
                self.domain.checkpointLookupByName(name).delete()
                del self.since[name]
                return
            assert name in self.lost, f"{self.log} {name}"
            self.domain.checkpointLookupByName(name).delete(2)
            del self.since[name]

    def kill_emulator(self) -> None:
        if self.domain.isActive():
            # What a guest has not flushed may be lost with its QEMU.
            libvirt_qemu.qemuMonitorCommand(self.domain, f"qemu-io -d {BACKEND} flush", 1)
            for pid in self.daemon.emulators():
                os.kill(pid, signal.SIGKILL)
            wait_until("the guest has ended", lambda: not self.domain.isActive())
            self.lost |= set(self.since)

    def back_up(self) -> None:
        """Copy what was written since a checkpoint: each of those bytes, as it is now."""
        if not self.domain.isActive() or not self.since:
            return
        name, new = self.random.choice(sorted(self.since)), self.name("b")
        target = self.folder / f"{new}.backup"
        disk = f"<disk name='vda' type='file'><target file='{target}'/></disk>"
        xml = f"<domainbackup><incremental>{name}</incremental><disks>{disk}</disks></domainbackup>"
        try:
            self.domain.backupBegin(xml, NEW.format(new))
        except libvirt.libvirtError as error:
            inconsistent = error.get_error_code() == libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT
            if not inconsistent or name not in self.lost:
                raise
            return
        copied = {chunk: self.bytes[chunk] for chunk in self.since[name]}
        self.since[new] = set()
        self.write()
        wait_until("the backup's end", lambda: self.domain.jobInfo()[0] == 0)
        reads = [f"read -P {pattern} {chunk * CHUNK} {CHUNK}" for chunk, pattern in copied.items()]
        if reads:
            said = self.qemu_io(str(target), *reads, read_only=True)
            assert "verification failed" not in said, (self.log, name)
        target.unlink()

    def running_overlay(self) -> None:
        if self.domain.isActive():
            self.overlay()

    def compare(self) -> None:
        """Compare what is noted with the model."""
        assert {one.getName() for one in self.domain.listAllCheckpoints()} == set(self.since)
        if not self.domain.isActive():
            return
        for name, chunks in self.since.items():
            xml = self.domain.checkpointLookupByName(name).getXMLDesc(SIZE)
            size = re.search(r" size='(\d+)'", xml)
            if size is None:
                assert name in self.lost, f"{self.log} {name}"
            else:
                assert int(size[1]) // CHUNK >= len(chunks), f"{self.log} {name}"

    def on_checkpoint(self, name: str) -> None:
        self.since[name] = set()

    def on_checkpoints_gone(self) -> None:
        self.since.clear()
        self.lost.clear()

    def backup_amid_death(self) -> None:
        super().backup_amid_death()
        for one in self.domain.listAllCheckpoints():
            self.since.setdefault(one.getName(), set())

    def steps(self) -> Sequence[Callable[[], None]]:
        return (
            *(self.start, self.start, self.power_off, self.kill, self.kill_emulator),
            *(self.checkpoint, self.checkpoint_amid_death, self.back_up, self.back_up),
            *(self.forget_checkpoint, self.running_overlay, self.running_overlay),
            *(self.commit, self.commit, self.pull, self.copy),
        )

    def step(self) -> None:
        """Do something, and compare."""
        with contextlib.suppress(ProcessLookupError):  # it had ended before it was to be killed
            super().step()
        self.write()
        self.compare()
