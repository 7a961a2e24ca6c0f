"""Removing the cgroups of guests that a test kills instead of ending them.

Owns: groups whose last process the test has killed. May not touch: groups with processes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from supervisor.workers.cgroups.group import Group
from supervisor.workers.cgroups.hierarchies import SLICE, layout

GONE_S: Final = 2.0  # for a killed process to leave its groups


def guest_groups(pid: int) -> set[str]:
    """Find the guest's groups that a process is in: below our slice, without those of threads."""
    found = set()
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            parts = line.split(":", 2)[2].strip("/").split("/")
            if parts[0] == SLICE and len(parts) > 1:
                found.add("/".join(parts[:2]))
    return found


def groups_of(name: str) -> set[str]:
    """Find the groups of a domain, by a name that no other test's has."""
    roots = set(layout().hierarchies.values())
    found = (path for root in roots for path in root.glob(f"{SLICE}/qemu-*-{name}-*"))
    return {f"{SLICE}/{path.name}" for path in found}


def remove_groups(paths: Iterable[str]) -> None:
    """Remove groups, once their processes have gone."""
    until = time.monotonic() + GONE_S
    for path in paths:
        group = Group(layout(), path)
        group.remove()
        while any(True for _ in group.directories()) and time.monotonic() < until:
            group.remove()
