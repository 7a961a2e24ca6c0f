"""Cgroups of guests: where they are, their values, freezing, moving a process, removal.

Owns: files of the guest's own groups. May not touch: those of others.
A QEMU guest gets one group on version 2 where the daemon may write there. A container gets one in
every hierarchy, which liblxc makes.
Source: Linux, Documentation/admin-guide/cgroup-v1, cgroup-v2.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError

MOUNTS: Final = Path("/proc/self/mountinfo")
UNIFIED: Final = ""  # the key of version 2's hierarchy
FREEZE_S: Final = 10.0
PAUSE_S: Final = 0.005
SLICE: Final = "virtvisor.slice"
CONTROLLER: Final = re.compile(r"[a-z_]+|name=.+")
UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_-]")  # in a name
MOVE_S: Final = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limit:
    """One value of one controller."""

    controller: str
    file: str
    value: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The mounts of the hierarchies: version 1's by controller, version 2's by `UNIFIED`."""

    hierarchies: dict[str, Path]

    @property
    def v1_controllers(self) -> frozenset[str]:
        """The controllers that are mounted as version 1."""
        return frozenset(name for name in self.hierarchies if name != UNIFIED)

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


def group_name(uuid: str, name: str, partition: str = "") -> str:
    """Name a container's group below each hierarchy's root; partitions are named as libvirt's.

    The UUID is part of it because two daemons on one host may have containers of one name.
    """
    plain = UNUSUAL.sub("_", name[:20])
    parts = [part for part in partition.split("/") if part]
    above = "/".join([parts[0], *(f"{part}.partition" for part in parts[1:])]) if parts else SLICE
    return f"{above}/lxc-{plain}-{uuid[:8]}"


def read(controller: str, group: str, file: str) -> str:
    """Read a value.

    Raises:
        VirError: SYSTEM_ERROR naming the file.
    """
    path = layout().folder(controller, group) / file
    try:
        return path.read_text().strip()
    except OSError as error:
        detail = f"Unable to read from '{path}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error


def write(group: str, limit: Limit) -> None:
    """Set a value.

    Raises:
        VirError: SYSTEM_ERROR naming the file; the kernel keeps the former value.
    """
    path = layout().folder(limit.controller, group) / limit.file
    try:
        path.write_text(limit.value)
    except OSError as error:
        detail = f"Unable to write '{limit.value}' to '{path}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error


def restore(group: str, limit: Limit) -> None:
    """Set a value back; a refusal is ignored."""
    with contextlib.suppress(VirError):
        write(group, limit)


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
    for path in dict.fromkeys(layout().hierarchies.values()):
        if (path / group).is_dir():
            yield path / group


def pids(group: str) -> set[int]:
    """Read the pids in a group and in the groups below it."""
    pids_found: set[int] = set()
    for folder in directories(group):
        for path, _, _ in os.walk(folder):
            with contextlib.suppress(OSError, ValueError):
                pids_found |= {
                    int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split()
                }
    return pids_found


def kill(group: str) -> None:
    """Send SIGKILL to every process of a group."""
    for pid in pids(group):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remove(group: str) -> None:
    """Remove a group and those below it, in every hierarchy; a missing one is no error."""
    for folder in directories(group):
        for path, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)


def thaw(group: str) -> None:
    """Thaw a group, so that its processes can be killed; errors are ignored."""
    if "freezer" in layout().v1_controllers:
        path, value = layout().folder("freezer", group) / "freezer.state", "THAWED"
    else:
        path, value = layout().folder("freezer", group) / "cgroup.freeze", "0"
    with contextlib.suppress(OSError):
        path.write_text(value)


def enable_controllers(group: str) -> None:
    """Enable every controller of version 2 down to the parent of a group that liblxc will make.

    A controller that the host keeps to itself is refused when a limit of it is written.
    """
    root = layout().hierarchies.get(UNIFIED)
    if root is None:
        return
    here = root
    for part in ("", *Path(group).parent.parts):
        here = here / part
        with contextlib.suppress(OSError):
            here.mkdir(exist_ok=True)
            for controller in (here / "cgroup.controllers").read_text().split():
                with contextlib.suppress(OSError):
                    (here / "cgroup.subtree_control").write_text(f"+{controller}")


async def move_process(pid: int, group: str) -> None:
    """Move an emulator into a group of its own, on version 2 and where we may write there.

    The write takes the kernel 10 to 20 ms (it waits for an RCU grace period), so a thread does it.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def move() -> None:
        _move(pid, group)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=move, name="cgroup", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MOVE_S):
            await done.wait()


def _move(pid: int, group: str) -> None:
    """Move it; on version 1, or where the service manager owns the tree, it stays in our group."""
    root = layout().hierarchies.get(UNIFIED)
    if root is None or os.geteuid() != 0:
        log.debug("no cgroup for %s: there is no version 2 hierarchy that we may write", group)
        return
    folder = root / SLICE / group
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        log.debug("no cgroup for %s: %s", group, error)
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_emulator_group(group: str) -> None:
    """Remove an emulator's group, and the slice with the last one; a missing one is no error."""
    root = layout().hierarchies.get(UNIFIED)
    if root is not None:
        with contextlib.suppress(OSError):
            (root / SLICE / group).rmdir()
            (root / SLICE).rmdir()  # ENOTEMPTY while another guest has its own in it
