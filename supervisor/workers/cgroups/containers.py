"""Cgroups of containers, which liblxc makes in every hierarchy: values, freezing, removal.

Owns: files of the container's own groups. May not touch: those of others.
Source: Linux, Documentation/admin-guide/cgroup-v1, cgroup-v2.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.cgroups.group import Group, Limit, enable_controllers
from supervisor.workers.cgroups.hierarchies import UNIFIED, layout, partition_path
from supervisor.workers.cgroups.scope_names import scope_path

FREEZE_S: Final = 10.0
PAUSE_S: Final = 0.005
UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_-]")  # in a name


def group_name(uuid: str, name: str, partition: str = "") -> str:
    """Name a container's group below each hierarchy's root; partitions are named as libvirt's.

    The UUID is part of it because two daemons on one host may have containers of one name.
    """
    plain = UNUSUAL.sub("_", name[:20])
    return f"{partition_path(partition)}/lxc-{plain}-{uuid[:8]}"


def read(controller: str, group: str, file: str) -> str:
    """Read a value. Raises: as `Group.read`."""
    return Group(layout(), group).read(controller, file)


def write(group: str, limit: Limit) -> None:
    """Set a value. Raises: as `Group.write`."""
    Group(layout(), group).write(limit)


async def freeze(group: str, *, frozen: bool) -> None:
    """Freeze or thaw every process of the group.

    Raises:
        VirError: SYSTEM_ERROR; OPERATION_FAILED: a process does not freeze in time; all run again.
    """
    version_1 = "freezer" in layout().v1_controllers
    file, values = ("freezer.state", ("THAWED", "FROZEN")) if version_1 else (
        "cgroup.freeze", ("0", "1"),
    )  # fmt: skip
    write(group, Limit("freezer", file, values[frozen]))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + FREEZE_S
    while is_frozen(group) is not frozen:
        if loop.time() > deadline:
            if frozen:
                write(group, Limit("freezer", file, values[0]))
            # A process in uninterruptible sleep freezes only when its system call returns.
            detail = f"the processes of {group} do not freeze: one is in uninterruptible sleep"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.CGROUP)
        await asyncio.sleep(PAUSE_S)


def is_frozen(group: str) -> bool:
    """Return whether every process of the group is frozen."""
    if "freezer" in layout().v1_controllers:
        return read("freezer", group, "freezer.state") == "FROZEN"
    return "frozen 1" in read("freezer", group, "cgroup.events")


def directories(group: str) -> Iterator[Path]:
    """List the directories of a group that exist, in every hierarchy."""
    return Group(layout(), group).directories()


def pids(group: str) -> set[int]:
    """Read the pids in a group and in the groups below it."""
    return Group(layout(), group).pids()


def kill(group: str) -> None:
    """Send SIGKILL to every process of a group."""
    Group(layout(), group).kill()


def remove(group: str) -> None:
    """Remove a group and those below it, in every hierarchy; a missing one is no error."""
    Group(layout(), group).remove()


def thaw(group: str) -> None:
    """Thaw a group, so that its processes can be killed; errors are ignored."""
    if "freezer" in layout().v1_controllers:
        path, value = layout().folder("freezer", group) / "freezer.state", "THAWED"
    else:
        path, value = layout().folder("freezer", group) / "cgroup.freeze", "0"
    with contextlib.suppress(OSError):
        path.write_text(value)


def enable_parents(group: str) -> None:
    """Enable every controller of version 2 down to the parent of a group that liblxc will make.

    A controller that the host keeps to itself is refused when a limit of it is written.
    """
    root = layout().hierarchies.get(UNIFIED)
    if root is None:
        return
    here, delegated = root, root / scope_path(group)  # what is above a scope is systemd's
    for part in ("", *Path(group).parent.parts):
        here = here / part
        with contextlib.suppress(OSError):
            here.mkdir(exist_ok=True)
            if here.is_relative_to(delegated):
                enable_controllers(here)
