"""The list of processes that virtvisorctl shows: state, restarts, memory, pid of each guest.

Owns: reading /proc and the pid files. May not touch: the processes.
Reading the memory takes a millisecond a process (`process_stats`): call it in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

from supervisor.messages.root import ProcessStatus
from supervisor.root.child import Child
from supervisor.runtime.process_stats import private_kib, process_row


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
        process_row("root", os.getpid(), 0),
        process_row("zygote", *zygote),
        *(child_row(c, now) for c in children),
    ]


def child_row(child: Child, now: float) -> ProcessStatus:
    """Describe a service or a worker by its record and /proc."""
    return ProcessStatus(
        name=child.name,
        pid=child.pid,
        state=child.state,
        restarts=child.history.restarts,
        uptime_s=round(now - child.started, 1) if child.pid else 0.0,
        private_kib=private_kib(child.pid),
        guest_pid=guest_pid(child.pid_file) if child.pid_file else 0,
    )


def guest_pid(pid_file: Path) -> int:
    """Read the pid of a worker's guest; 0 when it does not run."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return 0
    return pid if psutil.pid_exists(pid) else 0
