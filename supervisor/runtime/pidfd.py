"""A guest's process, told apart from any later one that has the same number.

Owns: the pidfd. May touch: the process, by signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

STARTTIME: Final = 19  # the field of /proc/PID/stat, counted after the name
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process of this or another boot of the host."""

    pid: int
    start: int  # clock ticks after the boot
    boot: str


@cache
def boot_id() -> str:
    """What tells this boot of the host from others."""
    return BOOT_ID.read_text().strip()


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks after the boot; None: there is none, or a dead one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[STARTTIME])


class GuestProcess:
    """A process that outlives its worker."""

    def __init__(self, pid: int, pidfd: int) -> None:
        """Take over a pidfd."""
        start = start_time(pid)
        self.identity = Identity(pid, start if start is not None else -1, boot_id())
        self._pidfd = pidfd
        self._exited = asyncio.Event()
        self.on_exit: list[Callable[[], None]] = []
        asyncio.get_running_loop().add_reader(pidfd, self._readable)

    @staticmethod
    def of_child(pid: int) -> GuestProcess:
        """Follow a child of ours, dead or alive."""
        return GuestProcess(pid, os.pidfd_open(pid))

    @staticmethod
    def adopt(identity: Identity) -> GuestProcess | None:
        """Follow a process that is none of our children; None: it has gone."""
        if identity.boot != boot_id():
            return None
        try:
            pidfd = os.pidfd_open(identity.pid)
        except OSError:
            return None
        # The number cannot change hands any more: if it is the same process now, it stays so.
        if start_time(identity.pid) != identity.start:
            os.close(pidfd)
            return None
        return GuestProcess(identity.pid, pidfd)

    @property
    def pid(self) -> int:
        """Its number."""
        return self.identity.pid

    @property
    def exited(self) -> bool:
        """Whether it has gone."""
        return self._exited.is_set()

    async def wait_exit(self, timeout_s: float) -> bool:
        """Wait until it has gone; whether it has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._exited.wait()
        return self.exited

    def send(self, number: int) -> None:
        """Send a signal, perhaps a nameless one; nothing happens to what has gone."""
        if not self.exited:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def forget(self) -> None:
        """Follow it no longer."""
        if not self.exited:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)

    def _readable(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._exited.set()
        for callback in self.on_exit:
            callback()
