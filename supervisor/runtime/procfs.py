"""A guest's processor time, from /proc: it needs no answer of the guest.

Owns: reading /proc/PID/stat. May not touch: anything else of the process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Times:
    """Nanoseconds that a process has had."""

    user: int
    system: int


def cpu_times(pid: int) -> Times:
    """The processor time of a process; none when it has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return Times(0, 0)
    fields = text.rpartition(") ")[2].split()
    if len(fields) < 13:
        return Times(0, 0)
    return Times(int(fields[11]) * TICK_NS, int(fields[12]) * TICK_NS)


def cpu_time_ns(pid: int) -> int:
    """The whole processor time of a process in nanoseconds; 0 when it has gone."""
    times = cpu_times(pid)
    return times.user + times.system
