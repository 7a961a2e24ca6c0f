"""Statistics of one process from /proc: private memory and uptime, for virtvisorctl.

Owns: reading /proc. May not touch: the processes.
smaps_rollup takes the kernel about a millisecond a process: call it in a thread.
"""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from supervisor.messages.root import ProcessState, ProcessStatus


def process_row(name: str, pid: int, restarts: int) -> ProcessStatus:
    """Read the status of a process that is no `Child`: the root, the zygote, a guest."""
    age = 0.0
    if pid:
        try:
            age = time.time() - psutil.Process(pid).create_time()
        except psutil.Error:
            pid = 0
    return ProcessStatus(
        name=name,
        pid=pid,
        state=ProcessState.RUNNING if pid else ProcessState.RESTARTING,
        restarts=restarts,
        uptime_s=round(age, 1),
        private_kib=private_kib(pid),
    )


def private_kib(pid: int) -> int:
    """Add up the private memory of a process, in KiB; 0 when it has exited."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text() if pid else ""
    except OSError:
        return 0
    sizes = (line.split()[1] for line in text.splitlines() if line.startswith("Private_"))
    return sum(int(size) for size in sizes)
