"""A guest's process by its pidfd, distinct from any later process of the same number.

Owns: the pidfd. May touch: the process, by signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.runtime.host import boot_id
from supervisor.runtime.procfs import start_time


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of this or another boot of the host, as status files keep it."""

    pid: int
    start: int  # clock ticks after the boot
    boot: str  # the boot's id

    def runs(self) -> bool:
        """Return whether the process has not exited."""
        return self.boot == boot_id() and start_time(self.pid) == self.start


class GuestProcess:
    """A process that outlives its worker."""

    def __init__(self, pid: int, pidfd: int, identity: ProcessIdentity | None = None) -> None:
        """Watch a process; the pidfd is closed with this object or when the process exits.

        Args:
            pid: its number.
            pidfd: of it.
            identity: what it was when it ran; None: it is looked up.
        """
        start = start_time(pid) if identity is None else None
        here = ProcessIdentity(pid, start if start is not None else -1, boot_id())
        self.identity = identity or here
        self._pidfd = pidfd
        self._exited = asyncio.Event()
        self.on_exit: list[Callable[[], None]] = []
        asyncio.get_running_loop().add_reader(pidfd, self._on_readable)

    @staticmethod
    def open_child(pid: int) -> GuestProcess:
        """Watch a child of this process, which may have exited: its number is not used again."""
        return GuestProcess(pid, os.pidfd_open(pid))

    @staticmethod
    def reopen(identity: ProcessIdentity) -> GuestProcess | None:
        """Watch a process that is no child; None: it has exited."""
        if identity.boot != boot_id():
            return None
        try:
            pidfd = os.pidfd_open(identity.pid)
        except OSError:
            return None
        # The pidfd holds on to one process. If its start time is right now, it is the process
        # meant, whatever becomes of the number later.
        if start_time(identity.pid) != identity.start:
            os.close(pidfd)
            return None
        return GuestProcess(identity.pid, pidfd)

    @staticmethod
    def inherit(identity: ProcessIdentity, pidfd: int) -> GuestProcess:
        """Watch a process of another watcher's pidfd (`share`): it may have exited meanwhile."""
        return GuestProcess(identity.pid, pidfd, identity)

    def share(self) -> int:
        """Return a pidfd of its own for another process to watch it; the caller owns it.

        Raises:
            OSError: it has exited.
        """
        return os.dup(self._pidfd)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.identity.pid

    @property
    def exited(self) -> bool:
        """Whether the process has exited."""
        return self._exited.is_set()

    async def wait_exit(self, timeout_s: float) -> bool:
        """Wait until the process exits; whether it has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._exited.wait()
        return self.exited

    def send_signal(self, number: int) -> None:
        """Send a signal, also a real-time one without a name; nothing is sent after the exit."""
        if not self.exited:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def unwatch(self) -> None:
        """Close the pidfd; the process runs on."""
        if not self.exited:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)

    def _on_readable(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        with contextlib.suppress(ChildProcessError):  # it was started by an earlier worker
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._exited.set()
        for callback in self.on_exit:
            callback()
