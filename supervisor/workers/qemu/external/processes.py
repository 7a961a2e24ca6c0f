"""Processes that serve a guest's devices: they begin before it and end after it.

Owns: starting and ending them, and the list of them in the status XML. May touch: them, their logs.

They run in sessions of their own, as QEMU does: a worker's death ends none of them, and the next
worker finds them in the status XML. One whose worker died before it was recorded is found by the
mark in its environment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from supervisor.objects.domain_status_xml import External, Status
from supervisor.runtime.emulator_user import User
from supervisor.runtime.pidfd import GuestProcess, ProcessIdentity
from supervisor.workers.spawn import Spawning, spawn

MARK: Final = "LIBVIRT_DOMAIN_DIR"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TERM_S: Final = 2.0
KILL_S: Final = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalCommand:
    """What starts one such process."""

    alias: str  # of the device that it serves
    argv: Sequence[str]
    fds: Sequence[int] = ()
    log_fd: int  # standard output and error
    user: User
    environ: Mapping[str, str] = field(default_factory=dict)


def start_process(command: ExternalCommand, status: Status, domain_dir: Path) -> External:
    """Start a process and note it in the status, which the caller writes.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be executed.
    """
    pid = spawn(
        Spawning(
            argv=command.argv,
            environ={"PATH": PATH, "LC_ALL": "C", MARK: str(domain_dir), **command.environ},
            fds=command.fds,
            log_fd=command.log_fd,
            user=command.user,
        )
    )
    identity = GuestProcess.open_child(pid).identity  # which reaps it, too, when it exits
    external = External(command.alias, pid, identity.start, identity.boot)
    status.externals = [*status.externals, external]
    log.info("%s: %s serves %s (pid %d)", status.name, command.argv[0], command.alias, pid)
    return external


def open_log(path: Path) -> int:
    """Open the log of a process, which only root reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


async def end_processes(status: Status, domain_dir: Path) -> None:
    """End every process that served the guest's devices."""
    await _end(status.externals)
    status.externals = []
    if status.pid == 0:  # the start's worker may have died before it recorded them
        await _end(_unrecorded(domain_dir))


async def end_process(status: Status, alias: str) -> None:
    """End the process that served a device which was detached."""
    await _end(one for one in status.externals if one.alias == alias)
    status.externals = [one for one in status.externals if one.alias != alias]


async def _end(externals: Iterable[External]) -> None:
    """Send SIGTERM, then SIGKILL: they have closed their files once QEMU has gone."""
    async with _reopened(externals) as processes:
        for number, timeout_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
            for process in processes:
                process.send_signal(number)
            for process in processes:
                await process.wait_exit(timeout_s)


@contextlib.asynccontextmanager
async def _reopened(externals: Iterable[External]) -> AsyncIterator[list[GuestProcess]]:
    processes = []
    for one in externals:
        process = GuestProcess.reopen(ProcessIdentity(one.pid, one.start, one.boot))
        if process is not None:
            processes.append(process)
    try:
        yield processes
    finally:
        for process in processes:
            process.unwatch()


def _unrecorded(domain_dir: Path) -> Iterator[External]:
    for pid in marked_processes(f"{MARK}={domain_dir}"):
        process = GuestProcess.open_child(pid)
        process.unwatch()
        yield External("", pid, process.identity.start, process.identity.boot)


def marked_processes(mark: str) -> Iterator[int]:
    """List the processes that have a variable with that value in their environment."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.fsencode(mark) in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
