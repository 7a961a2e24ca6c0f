"""The dnsmasq process of a network: started, found after a restart of netd, supervised, ended.

Owns: dnsmasq processes that run with our configuration files; one for each network.
May touch: the files that `DnsmasqPaths` names. May not touch: the text of the configuration.

dnsmasq daemonizes itself once its sockets are bound, so it outlives netd. It is found again by its
pid file and its command line, which names the configuration file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.pidfd import GuestProcess
from supervisor.runtime.procfs import command_line, read_stat
from supervisor.runtime.restart_policy import Policy, RestartHistory, RestartOn

START_S: Final = 10.0
END_S: Final = 3.0
MAX_ERROR_TEXT: Final = 2000  # characters of dnsmasq's error output in a message
SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLICY: Final = Policy(RestartOn.ALWAYS)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DnsmasqPaths:
    """The files of one network's dnsmasq."""

    config: Path
    hosts: Path  # dhcp-hostsfile
    names: Path  # addn-hosts
    leases: Path
    pid: Path
    script: Path  # the lease script, shared by all networks

    @staticmethod
    def for_network(folder: Path, states: Path, name: str, bridge: str) -> DnsmasqPaths:
        """Name the files of a network, at libvirt's paths.

        Args:
            folder: for dnsmasq's files.
            states: the status directory.
            name: the network's.
            bridge: the network's.
        """
        return DnsmasqPaths(
            config=folder / f"{name}.conf",
            hosts=folder / f"{name}.hostsfile",
            names=folder / f"{name}.addnhosts",
            leases=folder / f"{bridge}.status",
            pid=states / f"{name}.pid",
            script=folder / "lease-script",
        )


def binary() -> str:
    """Find the dnsmasq executable.

    Raises:
        VirError: CONFIG_UNSUPPORTED when it is not installed.
    """
    path = shutil.which("dnsmasq", path=SEARCH)
    if path is None:
        detail = "the network needs DHCP or DNS, but dnsmasq is not installed; install dnsmasq-base"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NETWORK)
    return path


async def launch(files: DnsmasqPaths) -> GuestProcess:
    """Start dnsmasq, or return the process that runs already.

    Raises:
        VirError: CONFIG_UNSUPPORTED, INTERNAL_ERROR with dnsmasq's error output, OPERATION_TIMEOUT.
    """
    running = find(files)
    if running is not None:
        if writes_leases(command_line(running.pid)):
            return running
        await end(running)
    with contextlib.suppress(FileNotFoundError):
        files.pid.unlink()
    status, output = await _run(binary(), files)
    if status != 0:
        detail = f"dnsmasq does not start with {files.config} (status {status}): {output}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)
    process = find(files)
    if process is None:
        detail = f"dnsmasq ended at once with {files.config}: {output}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)
    return process


async def _run(program: str, files: DnsmasqPaths) -> tuple[int, str]:
    """Run dnsmasq until it daemonizes; return its exit status and error output."""
    process = await asyncio.create_subprocess_exec(
        program,
        f"--conf-file={files.config}",
        "--leasefile-ro",
        f"--dhcp-script={files.script}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": SEARCH, "LC_ALL": "C", "VIRTVISOR_LEASES": str(files.leases)},
        start_new_session=True,
    )
    assert process.stderr is not None, "it was asked for"
    try:
        async with asyncio.timeout(START_S):
            # dnsmasq's helper for the lease script inherits stderr, so wait for the exit of the
            # first process and not for end of file.
            status = await process.wait()
            output = b""
            if status != 0:
                output = await process.stderr.read(MAX_ERROR_TEXT)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return -1, f"it did not start in {START_S:.0f} s"
    return status, output.decode(errors="replace").strip()


def find(files: DnsmasqPaths) -> GuestProcess | None:
    """Find the dnsmasq process that runs with this configuration."""
    try:
        number = int(files.pid.read_text(encoding="ascii"))
    except (OSError, ValueError):
        number = 0
    return _follow(number, files) or _search(files)


def _search(files: DnsmasqPaths) -> GuestProcess | None:
    """Search /proc: the pid file may be missing, or older than a crash.

    dnsmasq's helper for the lease script is a child of the server with the same argv.
    """
    numbers = [number for number in _numbers() if runs_config(command_line(number), files)]
    for number in numbers:
        if parent(number) not in numbers:
            return _follow(number, files)
    return None


def _numbers() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _follow(number: int, files: DnsmasqPaths) -> GuestProcess | None:
    if number <= 0:
        return None
    try:
        pidfd = os.pidfd_open(number)
    except OSError:
        return None
    # The pidfd pins the process: from here on the pid is not reused while we check it.
    if not runs_config(command_line(number), files):
        os.close(pidfd)
        return None
    return GuestProcess(number, pidfd)


def parent(number: int) -> int:
    """Read a process's parent pid; 0 for a process that has ended."""
    stat = read_stat(number)
    return 0 if stat is None else stat.parent


def writes_leases(argv: list[str]) -> bool:
    """Return whether the program that writes the leases is there: libvirt's may be removed."""
    scripts = [arg.partition("=")[2] for arg in argv if arg.startswith("--dhcp-script=")]
    return all(os.access(script, os.X_OK) for script in scripts)


async def end(process: GuestProcess) -> None:
    """End a dnsmasq."""
    process.send_signal(signal.SIGTERM)
    if not await process.wait_exit(END_S):
        process.send_signal(signal.SIGKILL)
        await process.wait_exit(END_S)


def runs_config(argv: list[str], files: DnsmasqPaths) -> bool:
    """Return whether this argv is of dnsmasq with our configuration file."""
    return (
        len(argv) > 1
        # Not Path.name: it interns the words of every process's command line.
        and argv[0].rpartition("/")[2] == "dnsmasq"
        and f"--conf-file={files.config}" in argv
    )


class Dnsmasq:
    """The supervised dnsmasq process of one running network."""

    def __init__(
        self, files: DnsmasqPaths, *, on_trouble: Callable[[str], None] = log.error
    ) -> None:
        """Run nothing yet.

        Args:
            files: where its files are.
            on_trouble: called with a message at each unexpected exit.
        """
        self.files = files
        self._on_trouble = on_trouble
        self._process: GuestProcess | None = None
        self._history = RestartHistory(POLICY)
        self._restarting: asyncio.Task[None] | None = None
        self._supervised = False

    @property
    def pid(self) -> int:
        """Return the process id; 0 while it does not run."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start dnsmasq, or supervise the process that runs already.

        Raises:
            VirError: as `launch`; there is no retry.
        """
        process = await launch(self.files)
        self._supervised = True
        self._watch(process)

    async def restart(self) -> None:
        """Stop and start dnsmasq, so that it reads its main configuration file again.

        Raises:
            VirError: as `launch`; it is retried with back-off.
        """
        await self.stop()
        try:
            await self.start()
        except VirError:
            self._supervised = True
            self._ended()
            raise

    def reload(self) -> None:
        """Send SIGHUP: dnsmasq reads its hosts and names again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """Stop dnsmasq and do not restart it."""
        self._supervised = False
        if self._restarting is not None:
            self._restarting.cancel()
            self._restarting = None
        process = self._process or find(self.files)
        self._process = None
        if process is None:
            return
        process.on_exit.clear()
        await end(process)
        with contextlib.suppress(FileNotFoundError):
            self.files.pid.unlink()

    def detach(self) -> None:
        """Stop supervising the process, which runs on."""
        self._supervised = False
        if self._restarting is not None:
            self._restarting.cancel()
        if self._process is not None:
            self._process.on_exit.clear()
            self._process.unwatch()
            self._process = None

    def _watch(self, process: GuestProcess) -> None:
        self._process = process
        process.on_exit.append(self._ended)

    def _ended(self) -> None:
        self._process = None
        if not self._supervised:
            return
        decision = self._history.ended(asyncio.get_running_loop().time(), crashed=True)
        state = "is degraded: it" if decision.degraded else "ended and"
        self._on_trouble(
            f"dnsmasq of {self.files.config.stem} {state} is started again in "
            f"{decision.pause_s:.1f} s"
        )
        self._restarting = asyncio.ensure_future(self._again(decision.pause_s))

    async def _again(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        try:
            process = await launch(self.files)
        except (VirError, OSError) as error:
            log.error("%s", error)
            self._restarting = None
            self._ended()
            return
        self._restarting = None
        self._watch(process)
