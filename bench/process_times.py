"""Processor time and memory of processes, by /proc: what a busy machine does not blur.

May touch: nothing; it reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """Return the direct children of a process."""
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:
        found.extend(children(each))
    return found


def run_ms(pids: Iterable[int]) -> float:
    """Sum the time that the scheduler gave to the threads of these processes, in ms."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with suppress(OSError):
                    total += int((task / "schedstat").read_text().split()[0])
    return total / 1e6


def share_niceness(pids: Iterable[int]) -> None:
    """Have the sessions of these processes, and our own, scheduled by our niceness.

    With autogroups (sched(7)) the kernel shares the processors among sessions: a process's niceness
    counts within its own alone, and a daemon may have begun one of its own.
    """
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    for pid in (os.getpid(), *pids):
        with suppress(OSError):  # no autogroups
            Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def private_kib(pids: Iterable[int]) -> int:
    """Sum the private memory of these processes, in KiB."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1])
    return total


def is_daemon(pid: int) -> bool:
    """Return whether a process is one of a libvirtd, not a guest or a tool that it executed."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().find(b"libvirtd\0") >= 0
    return False
