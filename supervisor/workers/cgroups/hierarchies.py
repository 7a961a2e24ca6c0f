"""The host's cgroup hierarchies: version 1's, one or more for each controller, and version 2's.

Owns: where they are mounted. May touch: /proc/self/mountinfo, to read.
Source: Linux, Documentation/admin-guide/cgroup-v1, cgroup-v2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

MOUNTS: Final = Path("/proc/self/mountinfo")
UNIFIED: Final = ""  # the key of version 2's hierarchy
SLICE: Final = "virtvisor.slice"
CONTROLLER: Final = re.compile(r"[a-z_]+|name=.+")


@dataclass(frozen=True, slots=True)
class Layout:
    """The mounts of the hierarchies: version 1's by controller, version 2's by `UNIFIED`."""

    hierarchies: dict[str, Path]
    v1_controllers: frozenset[str] = field(init=False)  # that are mounted as version 1

    def __post_init__(self) -> None:
        names = frozenset(name for name in self.hierarchies if name != UNIFIED)
        object.__setattr__(self, "v1_controllers", names)

    def folder(self, controller: str, group: str) -> Path:
        """Locate a group's directory in the hierarchy of a controller.

        Raises:
            VirError: CONFIG_UNSUPPORTED: no hierarchy has the controller.
        """
        root = self.hierarchies.get(controller) or self.hierarchies.get(UNIFIED)
        if root is None:
            detail = f"this host has no cgroup controller '{controller}'"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.CGROUP)
        return root / group

    def file(self, controller: str, group: str, name: str) -> str:
        """Locate a file of a group; as `folder`, without the cost of a `Path`."""
        root = self.hierarchies.get(controller) or self.hierarchies.get(UNIFIED)
        return f"{root or self.folder(controller, group)}/{group}/{name}"


@cache
def layout() -> Layout:
    """Detect the host's cgroup hierarchies, once per process."""
    return parse_layout(MOUNTS.read_text())


def parse_layout(mounts: str) -> Layout:
    """Parse mountinfo (proc(5)); of a hierarchy that is mounted twice the first mount counts."""
    hierarchies: dict[str, Path] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2) if after.count(" ") >= 2 else ("", "", "")
        path = Path(before.split(" ")[4]) if kind.startswith("cgroup") else Path()
        if kind == "cgroup2":
            hierarchies.setdefault(UNIFIED, path)
        elif kind == "cgroup":
            for option in options.split(","):
                if CONTROLLER.fullmatch(option) and option not in ("rw", "ro", "xattr"):
                    hierarchies.setdefault(option, path)
    return Layout(hierarchies)


def partition_path(partition: str) -> str:
    """Return where a partition is below a hierarchy's root, as libvirt names it.

    Each component but the first gets ".partition", so that no guest's group can have its name.
    """
    parts = [part for part in partition.split("/") if part]
    return "/".join([parts[0], *(f"{part}.partition" for part in parts[1:])]) if parts else SLICE
