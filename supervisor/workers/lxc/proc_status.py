"""/proc/PID/status and /proc/PID/ns of a container's processes.

Owns: parsing. May touch: /proc, to read.
A process of the container chooses its own name, which is part of the text: it is hostile.
"""

from __future__ import annotations

import os
from pathlib import Path


def read_status(pid: int) -> str:
    """Read /proc/PID/status; "" of a process that has exited."""
    try:
        return Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def fields(status: str, name: str) -> list[str]:
    """Read the values of a field; none if it is missing.

    Split at newlines alone: the kernel escapes them in a process's name, but none of the other
    characters at which `splitlines` splits.
    """
    for line in status.split("\n"):
        if line.startswith(f"{name}:"):
            return line.split()[1:]
    return []


def is_host_namespace(pid: int, name: str) -> bool:
    """Return whether a process is in the host's namespace of a type ("net", "user", …).

    Raises:
        OSError: the process has exited.
    """
    namespace, own = os.stat(f"/proc/{pid}/ns/{name}"), os.stat(f"/proc/self/ns/{name}")
    return (namespace.st_dev, namespace.st_ino) == (own.st_dev, own.st_ino)
