"""What the kernel says of a container's processes; their names are the container's own to choose.

Owns: reading it. May touch: `/proc`, to read.
"""

from __future__ import annotations

import os
from pathlib import Path


def read_status(pid: int) -> str:
    """A process's `/proc/PID/status`; nothing of one that has gone."""
    try:
        return Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def fields(status: str, name: str) -> list[str]:
    """The words after a field's name; none if it is not told.

    The kernel escapes the ends of lines that are in a process's name, but no other character that
    Python takes for one.
    """
    for line in status.split("\n"):
        if line.startswith(f"{name}:"):
            return line.split()[1:]
    return []


def is_host_namespace(pid: int, name: str) -> bool:
    """Whether a process's namespace of a kind is ours.

    Raises:
        OSError: the process has gone.
    """
    theirs, ours = os.stat(f"/proc/{pid}/ns/{name}"), os.stat(f"/proc/self/ns/{name}")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
