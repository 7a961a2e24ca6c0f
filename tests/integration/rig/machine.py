"""One virtual machine with a full Debian kernel, which has the host's files and none of its state.

Owns: the QEMU process and the folder that it shares with the rig. May touch: the host's files, to
read. Nothing that is written inside reaches the host, but for the rig's own folder.
Source of the choices: docs/decisions/rig.md.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pexpect
import pexpect.fdpexpect

from tests.clients.debian_root import debian_root
from tests.clients.guest import BUSYBOX, Cpio
from tests.integration.rig import scripts
from tests.integration.rig.kernel import CACHE, RigError, keep, modules, newest_kernel, unpacked

QEMU: Final = "/usr/bin/qemu-system-x86_64"
BOOT_S: Final = 120.0
#: Whatever only costs time under emulation is off; a crash ends QEMU at once.
COMMAND_LINE: Final = (
    "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic mitigations=off audit=0 nokaslr "
    "cryptomgr.notests random.trust_cpu=on tsc=reliable no_timer_check nmi_watchdog=0 "
    "i8042.noaux i8042.nomux i8042.dumbkbd 8250.nr_uarts=1 net.ifnames=0"
)
PR_SET_PDEATHSIG: Final = 1
LOG_TAIL: Final = 4000


@dataclass(frozen=True, slots=True)
class Shape:
    """What a machine has."""

    cpus: int = 2
    memory_mib: int = 2048
    disks: int = 0  # scratch disks: /dev/disk/by-id/virtio-scratch0 and so on
    disk_mib: int = 512
    debian: bool = False  # the tests' Debian system is kept on the host, and so is there inside


def missing_packages(needed: dict[str, str]) -> list[str]:
    """The packages that are not installed, by a file of each.

    Args:
        needed: file of each package, and its name.
    """
    return sorted({package for file, package in needed.items() if not Path(file).exists()})


class Machine:
    """A machine that runs; a context manager that leaves nothing behind."""

    boot_s = BOOT_S

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.folder = Path(tempfile.mkdtemp(prefix="virtvisor-rig-", dir="/var/tmp"))
        self.shared = self.folder / "shared"
        self._process: subprocess.Popen[bytes] | None = None
        self._console: pexpect.fdpexpect.fdspawn[bytes] | None = None
        self._end: socket.socket | None = None
        self._count = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Boot, up to where commands are taken.

        Raises:
            RigError: it does not come up; the message has the console's last lines.
            subprocess.CalledProcessError: debootstrap could not make the Debian system.
        """
        self.shared.mkdir()
        if self.shape.debian:
            debian_root()
        self._end, theirs = socket.socketpair()
        with theirs, (self.folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                self.command(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self._console = pexpect.fdpexpect.fdspawn(self._end.fileno(), use_poll=True)
        self._expect(scripts.READY, self.boot_s)

    def command(self, console: int) -> list[str]:
        """QEMU's command line; the console is a descriptor that it inherits."""
        kernel = newest_kernel()
        shape = self.shape
        words = [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-cpu", "EPYC,+svm", "-accel", "tcg,thread=multi",
            "-smp", str(shape.cpus), "-m", str(shape.memory_mib),
            "-kernel", str(unpacked(kernel)), "-initrd", str(initramfs(kernel)),
            "-append", COMMAND_LINE, "-device", "virtio-rng-pci",
            "-serial", f"file:{self.console_log}",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=console,fd={console}",
            "-device", "virtconsole,chardev=console",
            *shared("root", Path("/"), read_only=True), *shared("rig", self.shared),
        ]  # fmt: skip
        for number in range(shape.disks):
            path = self.folder / f"scratch{number}.raw"
            with path.open("wb") as disk:
                disk.truncate(shape.disk_mib << 20)
            words += [
                "-drive", f"if=none,id=d{number},format=raw,file={path},cache=unsafe",
                "-device", f"virtio-blk-pci,drive=d{number},serial=scratch{number}",
            ]  # fmt: skip
        return words

    @property
    def console_log(self) -> Path:
        """Where the kernel's messages go."""
        return self.folder / "console.log"

    def run(self, script: str, timeout_s: float) -> tuple[int, str]:
        """Run a script as root inside; its exit status and what it printed.

        Raises:
            RigError: it did not end in time, or the machine went away.
        """
        assert self._console is not None, "it was started"
        self._count += 1
        (self.shared / f"{self._count}.sh").write_text(script)
        self._console.send(f"{self._count}\n")
        self._expect(rf"ended {self._count} (\d+)\r?\n", timeout_s)
        match = self._console.match
        assert isinstance(match, re.Match), "that is what was expected"
        output = (self.shared / f"{self._count}.out").read_text(errors="replace")
        return int(match.group(1)), output

    def _expect(self, pattern: str, timeout_s: float) -> None:
        assert self._console is not None, "it was started"
        try:
            found = self._console.expect([pattern, scripts.READY], timeout=timeout_s)
        except pexpect.TIMEOUT:
            raise RigError(f"no '{pattern}' in {timeout_s:.0f} s\n{self.last_words()}") from None
        except (pexpect.EOF, OSError):
            raise RigError(f"the machine went away\n{self.last_words()}") from None
        if found != 0:
            raise RigError(f"the machine crashed and booted again\n{self.last_words()}")

    def last_words(self) -> str:
        """The last output of QEMU and of the kernel."""
        parts = []
        for path in (self.folder / "qemu.log", self.console_log):
            if path.exists():
                parts.append(f"-- {path.name}\n{path.read_text(errors='replace')[-LOG_TAIL:]}")
        if self._count:
            path = self.shared / f"{self._count}.out"
            if path.exists():
                parts.append(f"-- output\n{path.read_text(errors='replace')[-LOG_TAIL:]}")
        return "\n".join(parts)

    def close(self) -> None:
        """End the machine and remove its folder."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
        if self._end is not None:
            self._end.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_console(self) -> Path:
        """Keep the console's log after the machine has ended; return its path."""
        kept = CACHE / f"console-{int(time.time())}-{os.getpid()}.log"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.console_log, kept)
        return kept


def shared(tag: str, path: Path, *, read_only: bool = False) -> list[str]:
    """A folder of the host's that the machine mounts by its tag."""
    kind = f"local,id={tag},path={path},security_model=none,multidevs=remap"
    return [
        "-fsdev", kind + (",readonly=on" if read_only else ""),
        "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}",
    ]  # fmt: skip


def initramfs(kernel: Path) -> Path:
    """The rig's initramfs, from the cache where it is there; not packed, which is quicker."""
    cpio = Cpio()
    for folder in ("bin", "dev", "proc", "sys", "modules"):
        cpio.add(folder, 0o040755)
    cpio.add("bin/busybox", 0o100755, BUSYBOX.read_bytes())
    cpio.add("bin/sh", 0o120777, b"busybox")
    loaded = modules(kernel, scripts.MODULES)
    for name, content in loaded:
        cpio.add(f"modules/{name}", 0o100644, content)
    cpio.add("order", 0o100644, "\n".join(name for name, _ in loaded).encode())
    cpio.add("init", 0o100755, scripts.FIRST.encode())
    cpio.add("second", 0o100755, scripts.SECOND.encode())
    data = cpio.finish()
    path = CACHE / f"initramfs-{hashlib.sha256(data).hexdigest()[:16]}"
    if not path.exists():
        keep(path, data)
    return path


def die_with_parent() -> None:
    """End QEMU with the test run, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    with Machine(Shape()) as machine:
        status, printed = machine.run(" ".join(sys.argv[1:]), 600.0)
    sys.stdout.write(printed)
    sys.exit(status)
