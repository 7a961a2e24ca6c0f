"""Process statistics for virtvisorctl: memory, uptime, pids of guests.

Owns: reading /proc. May not touch: the processes.
smaps_rollup takes the kernel about a millisecond a process: call it in a thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from supervisor.messages.root import ProcessStatus
from supervisor.root.child import Child, State


def list_processes(
    children: Sequence[Child], zygote: tuple[int, int], now: float
) -> list[ProcessStatus]:
    """List all processes, the root first.

    Args:
        children: all but the zygote.
        zygote: its pid and its restarts.
        now: the event loop's time.
    """
    return [
        self_row("root", os.getpid(), 0),
        self_row("zygote", *zygote),
        *(child_row(c, now) for c in children),
    ]


def child_row(child: Child, now: float) -> ProcessStatus:
    """The status of a service or a worker."""
    return ProcessStatus(
        name=child.name,
        pid=child.pid,
        state=child.state,
        restarts=child.history.restarts,
        uptime_s=round(now - child.started, 1) if child.pid else 0.0,
        private_kib=private_kib(child.pid),
        guest_pid=guest_pid(child.pid_file) if child.pid_file else 0,
    )


def self_row(name: str, pid: int, restarts: int) -> ProcessStatus:
    """The status of a process that is no `Child`: the root, the zygote, a guest."""
    age = 0.0
    if pid:
        try:
            age = time.time() - psutil.Process(pid).create_time()
        except psutil.Error:
            pid = 0
    return ProcessStatus(
        name=name,
        pid=pid,
        state=State.RUNNING if pid else State.RESTARTING,
        restarts=restarts,
        uptime_s=round(age, 1),
        private_kib=private_kib(pid),
    )


def private_kib(pid: int) -> int:
    """The private memory of a process in KiB; 0 when it has exited."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text() if pid else ""
    except OSError:
        return 0
    sizes = (line.split()[1] for line in text.splitlines() if line.startswith("Private_"))
    return sum(int(size) for size in sizes)


def guest_pid(pid_file: Path) -> int:
    """The pid of a worker's guest; 0 when there is none."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return 0
    return pid if psutil.pid_exists(pid) else 0
