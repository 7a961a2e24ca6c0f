"""Which of the host's devices the processes of a group may open.

Owns: saying so to the kernel: by a BPF program with version 2, else by version 1's controller.
May touch: the group; device nodes, to read their status.
Source: libvirt 9.0, virCgroupAllowDevicePath; Linux, cgroup-v1/devices, cgroup-v2.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from supervisor.runtime.device_filter import DeviceRule, attach_filter
from supervisor.workers.cgroups.group import Group
from supervisor.workers.cgroups.hierarchies import UNIFIED

CONTROLLER = "devices"


def device_rules(paths: Iterable[str]) -> Iterator[DeviceRule]:
    """Make the rules that allow these paths; one that is missing or no device needs none."""
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        if stat.S_ISBLK(status.st_mode):
            yield DeviceRule("b", major, minor)
        elif stat.S_ISCHR(status.st_mode):
            yield DeviceRule("c", major, minor)


def restrict_devices(
    group: Group, rules: frozenset[DeviceRule], before: frozenset[DeviceRule] | None = None
) -> None:
    """Let the processes of a group open these devices alone.

    Args:
        group: whose processes they are.
        rules: of what they may open.
        before: of what they could open; None: everything.

    Raises:
        OSError: the kernel does not let us, or has no such controller.
    """
    if UNIFIED in group.layout.hierarchies:
        attach_filter(group.layout.hierarchies[UNIFIED] / group.path, rules)
        return
    folder = group.layout.hierarchies.get(CONTROLLER)
    if folder is None:
        raise OSError("no cgroup controller 'devices' is mounted")
    if before is None:
        (folder / group.path / "devices.deny").write_text("a")
    for rule in sorted(rules - (before or frozenset()), key=str):
        (folder / group.path / "devices.allow").write_text(str(rule))
    for rule in sorted((before or frozenset()) - rules, key=str):
        (folder / group.path / "devices.deny").write_text(str(rule))
