"""Random sequences of everything that moves a disk's bytes, held against a model.

    python -m tests.clients.disk_sequences [--first SEED] [--count N] [--steps N]

runs N seeds, each with a daemon of its own, and prints what each failure did; it ends with 1 if
there was one. `test_disk_data` runs two short ones.

Owns: the daemons and folders of its sequences. May not touch: other daemons.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tests.clients.conftest import open_directory
from tests.clients.daemon import Daemon
from tests.clients.disk_machine import RISKY, SNAPSHOT
from tests.clients.event_watch import EventLoop, wait_until
from tests.clients.libvirt_binding import libvirt
from tests.clients.noted_machine import NotedMachine

#: What deleting a snapshot is refused with where others need its images.
NEEDED: Final = (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, libvirt.VIR_ERR_OPERATION_UNSUPPORTED)


class WholeMachine(NotedMachine):
    """A domain to which all of it happens."""

    def steps(self) -> Sequence[Callable[[], None]]:
        """What may happen next."""
        return (
            *(self.start, self.start, self.start, self.power_off, self.kill_emulator),
            *(self.kill, self.kill_root),
            *(self.overlay, self.overlay, self.overlay, self.internal, self.overlay_amid_death),
            *(self.revert, self.revert, self.revert_amid_death),
            *(self.delete, self.delete, self.delete_amid_death),
            *(self.commit, self.commit, self.pull, self.copy, self.job_amid_root_death),
            *(self.backup, self.backup, self.backup_amid_death),
            *(self.checkpoint, self.checkpoint_amid_death, self.back_up, self.forget_checkpoint),
        )

    def write(self) -> None:
        """Write a pattern; also while the domain is off, where no checkpoint has to note that."""
        if self.domain.isActive() or not self.since:
            self.write_noted()

    def kill_root(self) -> None:
        """Kill the whole daemon, and start it again."""
        self.daemon.kill()
        with contextlib.suppress(libvirt.libvirtError):
            self.link.close()
        self.daemon.start()
        self.link = libvirt.open(self.daemon.uri)
        wait_until("the domain answers", self.answers)

    def job_amid_root_death(self) -> None:
        """Kill the whole daemon while a block job is under way."""
        if not self.domain.isActive():
            return
        self.forget_snapshots()
        target = self.folder / self.name("copy")
        xml = f"<disk type='file'><source file='{target}'/><driver type='qcow2'/></disk>"
        flags = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
        self.domain.blockCopy("vda", xml, {}, flags)
        self.kill_root()
        self.finish(pivot=True)

    def internal(self) -> None:
        """Make a snapshot in the image, with the guest's memory if it runs."""
        self.backups.forget()  # libvirt 9.0 refuses it beside checkpoints
        name = self.name("i")
        self.domain.snapshotCreateXML(SNAPSHOT.format(name), 0)
        self.snapshots[name] = list(self.bytes)

    def revert(self) -> None:
        """Go back to a snapshot, unless that changed what others consist of."""
        try:
            super().revert()
        except libvirt.libvirtError as error:
            if error.get_error_code() != RISKY:
                raise
            self.log[-1] += " refused"

    def delete(self) -> None:
        """Delete a snapshot, unless others need its images: the disk's bytes stay."""
        if not self.snapshots:
            return
        name = self.random.choice(sorted(self.snapshots))
        self.log[-1] += f" {name}"
        self.delete_or_refuse(name)

    def revert_amid_death(self) -> None:
        """Kill a process amid a revert: the bytes are the snapshot's, or what they were."""
        if not self.snapshots:
            return
        self.backups.forget()
        name = self.random.choice(sorted(self.snapshots))
        self.log[-1] += f" {name}"
        with self.death(), contextlib.suppress(libvirt.libvirtError):
            self.domain.revertToSnapshot(self.domain.snapshotLookupByName(name), 0)
        if self.domain.isActive():
            self.domain.destroy()
        self.bytes = self.read_either(self.bytes, self.snapshots[name])

    def delete_amid_death(self) -> None:
        """Kill a process amid a delete: it is done, or can be done; the disk's bytes stay."""
        if not self.snapshots:
            return
        name = self.random.choice(sorted(self.snapshots))
        self.log[-1] += f" {name}"
        with self.death(), contextlib.suppress(libvirt.libvirtError):
            self.domain.snapshotLookupByName(name).delete()
        wait_until("the end of block jobs", lambda: not self.domain.isActive() or not self.info())
        if name in [one.getName() for one in self.domain.listAllSnapshots()]:
            self.delete_again(name)
        else:
            del self.snapshots[name]

    def delete_again(self, name: str) -> None:
        """Delete a snapshot of which a part may be deleted."""
        self.backups.forget()  # an overlay cannot be merged beside checkpoints, if it is off
        self.delete_or_refuse(name)

    def delete_or_refuse(self, name: str) -> None:
        """Delete a snapshot, unless others need its images."""
        try:
            self.domain.snapshotLookupByName(name).delete()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in NEEDED:
                raise
            self.log[-1] += f" refused ({error})"
        else:
            del self.snapshots[name]

    @contextlib.contextmanager
    def death(self) -> Iterator[None]:
        """Kill a process somewhere in the middle of the body, and wait for its successor."""
        names = ["domd", "root", *(["qemu:data"] if self.domain.isActive() else [])]
        victim, pause = self.random.choice(names), self.random.random() * 0.3
        self.log[-1] += f" ({victim} killed after {pause:.3f} s)"
        if victim == "root":
            killer = threading.Timer(pause, self.daemon.kill)
        else:
            pid = self.running(victim)
            killer = threading.Timer(pause, self.kill_if_there, (pid,))
        killer.start()
        yield
        killer.join()
        if victim == "root":
            with contextlib.suppress(libvirt.libvirtError):
                self.link.close()
            self.daemon.start()
            self.link = libvirt.open(self.daemon.uri)
        elif victim == "domd":
            wait_until("another domd", lambda: self.pid_of(victim) not in (0, pid))
        # A worker goes on with a start that a domd died over: its guest is known at its end.
        wait_until(
            "what runs is known",
            lambda: bool(self.domain.isActive()) == bool(list(self.daemon.emulators())),
        )
        wait_until("the domain answers", self.answers)


def run_sequence(daemon: Daemon, seed: int, steps: int) -> WholeMachine:
    """Run one sequence, and compare the disk and each snapshot with the model.

    Raises:
        AssertionError: bytes differ, or a call failed that should not have; with what was done.
    """
    EventLoop.start()
    with open_directory() as folder:
        machine = WholeMachine(daemon, folder, seed)
        try:
            for _ in range(steps):
                machine.step()
            machine.check()
            machine.check_snapshots()
            machine.forget_snapshots()
            machine.domain.undefine()
        except (libvirt.libvirtError, ProcessLookupError) as error:
            emulator = (daemon.root / "var/log/libvirt/qemu/data.log").read_text(errors="replace")
            raise AssertionError((seed, machine.log, str(error), emulator[-2000:])) from error
        finally:
            with contextlib.suppress(libvirt.libvirtError):
                machine.link.close()
    return machine


def run_seeds(seeds: range, steps: int, done: Counter[str]) -> Iterator[int]:
    """Run sequences on daemons, a fresh one after each failure; the seeds that failed."""
    left = list(seeds)
    while left:
        with Daemon() as daemon:
            while left:
                seed = left.pop(0)
                try:
                    machine = run_sequence(daemon, seed, steps)
                except Exception:  # noqa: BLE001 - the other seeds are to run, too
                    log = daemon.log.read_text(errors="replace")
                    sys.stdout.write(
                        f"{log[-6000:]}seed {seed} failed:\n{traceback.format_exc()}\n"
                    )
                    yield seed
                    break
                done.update(line.split()[0] for line in machine.log)
                sys.stdout.write(f"seed {seed} is right\n")
                sys.stdout.flush()


def main() -> int:
    """Run the seeds; what fails is printed, with its seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--count", type=int, default=10, help="how many")
    parser.add_argument("--steps", type=int, default=40, help="of each")
    options = parser.parse_args()
    began, done = time.monotonic(), Counter[str]()
    seeds = range(options.first, options.first + options.count)
    failed = list(run_seeds(seeds, options.steps, done))
    steps = ", ".join(f"{name} {count}" for name, count in done.most_common())
    sys.stdout.write(
        f"{options.count} sequences of {options.steps} steps in {time.monotonic() - began:.0f} s: "
        f"{len(failed)} failed {failed or ''}\n{steps}\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
