"""A real daemon under a private root, and the stock clients that talk to it.

Owns: the processes it starts and the folder it makes. May not touch: any other daemon or guest.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from supervisor.ctl.virtvisorctl import query
from supervisor.messages.root import AdminRequest
from supervisor.runtime.paths import Paths
from tests.cgroups import guest_groups, remove_groups

LIBVIRTD: Final = Path(sys.executable).with_name("libvirtd")
VIRTVISORCTL: Final = Path(sys.executable).with_name("virtvisorctl")
VIRSH: Final = "/usr/bin/virsh"
#: The rig's machine is emulated: everything there takes so many times as long.
PATIENCE: Final = float(os.environ.get("VIRTVISOR_PATIENCE", "1"))
START_S: Final = 20.0 * PATIENCE


class Notifications:
    """The receiving end of sd_notify: tells when a daemon says it is ready."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def wait(self, word: str, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        """Wait until a message holds `choice`; fail at once when the daemon has exited."""
        until = time.monotonic() + timeout_s
        pidfd = os.pidfd_open(process.pid)
        try:
            while (left := until - time.monotonic()) > 0:
                ready, _, _ = select.select([self._socket.fileno(), pidfd], [], [], left)
                if self._socket.fileno() in ready and word in self._socket.recv(4096).decode():
                    return
                if ready == [pidfd]:
                    raise RuntimeError(f"the daemon exited with {process.wait()}")
        finally:
            os.close(pidfd)
        raise TimeoutError(f"no {word} from the daemon in {timeout_s} s")

    def close(self) -> None:
        """Stop listening and take the socket's file away."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


@dataclass
class Daemon:
    """One `libvirtd --root DIR`; a context manager that leaves nothing behind."""

    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="vv-", dir="/tmp")))
    arguments: list[str] = field(default_factory=lambda: ["--verbose"])
    wrapper: list[str] = field(default_factory=list)  # the command that executes the daemon
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """The address of the read-write socket for stock clients."""
        return f"qemu+unix:///system?socket={self.root}/run/libvirt/libvirt-sock"

    @property
    def read_only_uri(self) -> str:
        """The address of the read-only socket."""
        return f"{self.uri}-ro"

    @property
    def log(self) -> Path:
        """What the daemon printed."""
        return self.root / "daemon.log"

    def start(self) -> None:
        """Start the daemon and wait until it says READY."""
        self.root.chmod(0o755)
        notifications = Notifications(self.root / "notify")
        try:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [
                        *self.wrapper,
                        str(LIBVIRTD),
                        "--root",
                        str(self.root),
                        *self.arguments,
                    ],
                    env={**os.environ, "NOTIFY_SOCKET": str(notifications.path)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            notifications.wait("READY=1", self.process, START_S)
        except (RuntimeError, TimeoutError) as error:
            raise RuntimeError(f"{error}\n{self.log.read_text()[-4000:]}") from None
        finally:
            notifications.close()

    def stop(self) -> int:
        """Stop the daemon in an orderly way; its guests stay."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            raise

    def kill(self) -> None:
        """Kill the root supervisor as a fault would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)

    def status(self) -> list[dict[str, Any]]:
        """Ask for the process tree, as `virtvisorctl status` does, without a process of its own."""
        reply = query(Paths.system(self.root).control_socket(), AdminRequest(ask="status"))
        rows: list[dict[str, Any]] = json.loads(reply)
        return rows

    def virsh(self, *words: str, uri: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run stock virsh against this daemon."""
        return subprocess.run(
            [VIRSH, "-c", uri or self.uri, *words],
            capture_output=True,
            text=True,
            timeout=60 * PATIENCE,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )

    def ok(self, *words: str) -> str:
        """Run stock virsh, expect success and return what it printed."""
        done = self.virsh(*words)
        assert done.returncode == 0, f"virsh {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def emulators(self) -> Iterator[int]:
        """List the QEMU processes whose command line names this root."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"qemu-system" in words[0] and any(
                    str(self.root).encode() in word for word in words
                ):
                    yield int(entry.name)

    def clean_up(self) -> None:
        """End what is left: the daemon, then its guests, then the folder."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        emulators = list(self.emulators())
        groups = {group for pid in emulators for group in guest_groups(pid)}
        for pid in emulators:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        remove_groups(groups)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Daemon:
        try:
            self.start()
        except BaseException:
            self.clean_up()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self.log.exists():
            sys.stderr.write(self.log.read_text()[-8000:])
        self.clean_up()
