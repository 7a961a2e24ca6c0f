"""The system of a Debian release in which the project's tests run: a chroot, kept in `.cache/`.

Owns: that folder, with the release's `.venv` beside it. Whatever is mounted for a command is seen
by that command alone, and every process that it leaves behind ends with it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.clients.debian_root import mirror
from tests.paths import PROJECT

CACHE: Final = PROJECT / ".cache"
VERSION: Final = "1"  # of what is done to a system here
BOOTSTRAP_S: Final = 600
SETUP_S: Final = 900
#: A test system needs neither to survive a power cut nor manuals, and never boots its kernel.
DPKG: Final = (
    "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n"
    "path-exclude=/usr/share/locale/*\n"
)
WORDS: Final = {
    "HOME": "/root",
    "INITRD": "No",  # Debian's kernel packages then make no initramfs
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
}
#: How this machine reaches the world, by the beginnings of its variables' names.
REACH: Final = ("http", "https", "no_proxy", "ftp", "HTTP", "NO_PROXY", "PIP_", "CI")
INSIDE: Final = Path(__file__).with_name("enter.sh")
QEMU: Final = "/usr/bin/qemu-system-x86_64"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command inside ended."""

    status: int
    output: str  # standard output and error, in their order


class Release:
    """A release's system."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.folder = CACHE / f"debian-{suite}-{VERSION}"

    def make(self) -> None:
        """Make the system where it is not kept from an earlier run, and set the project up in it.

        Raises:
            ReleaseError: it cannot be made; the message says why.
        """
        CACHE.mkdir(exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.folder.exists():
                self._bootstrap()
            done = self.run(["./dev", "setup"], SETUP_S)
        if done.status != 0:
            raise ReleaseError(f"./dev setup in Debian {self.suite}: {done.output[-4000:]}")

    def _bootstrap(self) -> None:
        program = shutil.which("debootstrap")
        if program is None:
            raise ReleaseError("no Debian system without debootstrap: apt-get install debootstrap")
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            root = Path(folder) / "made/root"
            (Path(folder) / "made/venv").mkdir(parents=True)
            done = _run(
                [program, "--variant=minbase", self.suite, str(root), mirror()], BOOTSTRAP_S
            )
            if done.status != 0:
                raise ReleaseError(f"debootstrap of {self.suite}: {done.output[-4000:]}")
            (root / "etc/dpkg/dpkg.cfg.d/quick").write_text(DPKG)
            (Path(folder) / "made").rename(self.folder)

    def run(self, argv: list[str], timeout_s: float, *, qemu: Path | None = None) -> Ended:
        """Run a command as root in the checkout as it is there, with the release's own `.venv`.

        Args:
            argv: the command.
            timeout_s: then it and all its processes are killed.
            qemu: a program to stand in for QEMU, which is then beside it with `.real` appended.
        """
        words = {"FOLDER": str(self.folder), "PROJECT": str(PROJECT)}
        if qemu is not None:
            words |= {"QEMU": QEMU, "INSTEAD": str(qemu)}
        reach = {name: value for name, value in os.environ.items() if name.startswith(REACH)}
        return _run(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation"),
                *("private", "sh", str(INSIDE), *argv),
            ],
            timeout_s,
            reach | WORDS | words,
        )


class ReleaseError(Exception):
    """A release's system cannot be made; the message says what is missing or went wrong."""


def _run(argv: list[str], timeout_s: float, environment: dict[str, str] | None = None) -> Ended:
    """Run a program with both outputs in one; at the end of its time it is killed."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output = late.output or b""
        text = output.decode(errors="replace") if isinstance(output, bytes) else output
        return Ended(124, f"{text}\n{argv[0]} took more than {timeout_s:.0f} s")
    return Ended(done.returncode, done.stdout)
