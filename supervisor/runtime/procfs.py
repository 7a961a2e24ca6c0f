"""/proc: the state, parent, CPU time and start time of a process; counters of interfaces.

Owns: nothing. May touch: /proc, to read. Source: proc_pid_stat(5), proc_pid_net(5).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

#: The kernel counts CPU time in /proc in these clock ticks.
TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
DEAD: Final = ("Z", "X")
STOPPED: Final = ("T", "t")  # by a signal; by a tracer


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Nanoseconds of CPU time in user mode and in the kernel."""

    user: int
    system: int

    @property
    def total(self) -> int:
        """Both."""
        return self.user + self.system


@dataclass(frozen=True, slots=True)
class ProcStat:
    """One line of /proc/PID/stat, or of a thread's."""

    state: str  # the kernel's letter
    parent: int
    cpu: CpuTimes
    start_ticks: int  # clock ticks after the boot
    processor: int  # the host's CPU that it ran on last


def parse_stat(text: str) -> ProcStat | None:
    """Read the line; None for one that is cut short."""
    # The name in parentheses may hold anything, spaces and parentheses too: count after the last.
    fields = text.rpartition(")")[2].split()
    if len(fields) < 37:
        return None
    cpu = CpuTimes(int(fields[11]) * TICK_NS, int(fields[12]) * TICK_NS)
    return ProcStat(fields[0], int(fields[1]), cpu, int(fields[19]), int(fields[36]))


def read_stat(pid: int, thread: int = 0) -> ProcStat | None:
    """Read a process's line, or that of one of its threads; None: there is no such process."""
    path = f"/proc/{pid}/task/{thread}/stat" if thread else f"/proc/{pid}/stat"
    try:
        # As bytes: a text file would bring a decoder per call, and the name need not be UTF-8.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return parse_stat(os.read(fd, 4096).decode("ascii", errors="replace"))
    except OSError:  # ESRCH: it was reaped after the open
        return None
    finally:
        os.close(fd)


def cpu_times(pid: int) -> CpuTimes:
    """Read the user and system time of a process; zero when it has exited."""
    stat = read_stat(pid)
    return CpuTimes(0, 0) if stat is None else stat.cpu


def open_stat(pid: int) -> int | None:
    """Open a process's line, which `read_cpu_ns` reads; None: there is no such process."""
    try:
        return os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def read_cpu_ns(stat: int) -> int | None:
    """Read a process's CPU time of its open line; None: it has exited.

    The line stays that process's: a number used again does not lead to another's.
    """
    try:
        fields = os.pread(stat, 4096, 0).rpartition(b")")[2].split(None, 13)
        return (int(fields[11]) + int(fields[12])) * TICK_NS
    except (OSError, IndexError):  # ESRCH: it was reaped after the open
        return None


def start_time(pid: int) -> int | None:
    """Read when a process started, in clock ticks after the boot; None: it does not run."""
    stat = read_stat(pid)
    return None if stat is None or stat.state in DEAD else stat.start_ticks


def command_line(pid: int) -> list[str]:
    """Read the arguments of a process; none: it does not run, or is one of the kernel's."""
    try:
        fd = os.open(f"/proc/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        with os.fdopen(fd, "rb") as file:
            return [os.fsdecode(arg) for arg in file.read().split(b"\0")[:-1]]
    except OSError:  # ESRCH: it was reaped after the open
        return []


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal or by a tracer."""
    stat = read_stat(pid)
    return stat is not None and stat.state in STOPPED


def interface_counters(name: str) -> tuple[int, ...] | None:
    """Read a tap's counters: rx bytes, packets, errors, drops, then tx; None: no such device.

    Both are the guest's: what the host's end transmits, the guest receives.
    """
    try:
        with open("/proc/net/dev", encoding="utf-8") as table:  # the worker's namespace
            for line in table:
                device, _, numbers = line.partition(":")
                if device.strip() == name:
                    counted = [int(number) for number in numbers.split()]
                    return (*counted[8:12], *counted[:4])
    except (OSError, ValueError):
        return None
    return None


class OpenFiles(Container[object]):
    """The files that a process has open, as device and inode; none if they cannot be read.

    They are looked at from the newest descriptor on, and no further than is asked for.
    """

    def __init__(self, pid: int) -> None:
        self._folder = f"/proc/{pid}/fd"
        self._found: set[tuple[int, int]] = set()
        self._left: list[int] | None = None

    def __contains__(self, file: object) -> bool:
        if self._left is None:
            self._left = []
            with contextlib.suppress(OSError):
                self._left = sorted(map(int, os.listdir(self._folder)))
        while file not in self._found and self._left:
            with contextlib.suppress(OSError):  # closed meanwhile
                status = os.stat(f"{self._folder}/{self._left.pop()}")
                self._found.add((status.st_dev, status.st_ino))
        return file in self._found
