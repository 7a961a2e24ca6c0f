"""A container's cgroups: where they are, their values, freezing, what is left of them.

Owns: files of the container's own groups. May not touch: those of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.lxc.config.limits import Limit

MOUNTS: Final = Path("/proc/self/mountinfo")
UNIFIED: Final = ""  # the key of version 2's hierarchy
FREEZE_S: Final = 10.0
PAUSE_S: Final = 0.005
SLICE: Final = "virtvisor.slice"
DEPTH: Final = 32  # of groups that a container makes in its own
CONTROLLER: Final = re.compile(r"[a-z_]+|name=.+")
UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_-]")  # in a name


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the host has its hierarchies: version 1's by controller, version 2's by `UNIFIED`."""

    hierarchies: dict[str, Path]

    @property
    def legacy(self) -> frozenset[str]:
        """The controllers that version 1 has."""
        return frozenset(name for name in self.hierarchies if name != UNIFIED)

    def folder(self, controller: str, group: str) -> Path:
        """A group's folder for a controller."""
        root = self.hierarchies.get(controller) or self.hierarchies.get(UNIFIED)
        if root is None:
            detail = f"this host has no cgroup controller '{controller}'"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.LXC)
        return root / group


@cache
def layout() -> Layout:
    """The host's."""
    return read_layout(MOUNTS.read_text())


def read_layout(mounts: str) -> Layout:
    """Read mountinfo; of a hierarchy that is mounted more than once the first counts."""
    found: dict[str, Path] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2) if after.count(" ") >= 2 else ("", "", "")
        path = Path(before.split(" ")[4]) if kind.startswith("cgroup") else Path()
        if kind == "cgroup2":
            found.setdefault(UNIFIED, path)
        elif kind == "cgroup":
            for word in options.split(","):
                if CONTROLLER.fullmatch(word) and word not in ("rw", "ro", "xattr"):
                    found.setdefault(word, path)
    return Layout(found)


def group_name(uuid: str, name: str, partition: str = "") -> str:
    """The container's group below each hierarchy's root; a machine's partition is as stock's.

    Two daemons on one host may have containers of one name.
    """
    plain = UNUSUAL.sub("_", name[:20])
    parts = [part for part in partition.split("/") if part]
    above = "/".join([parts[0], *(f"{part}.partition" for part in parts[1:])]) if parts else SLICE
    return f"{above}/lxc-{plain}-{uuid[:8]}"


def read(controller: str, group: str, file: str) -> str:
    """A value.

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
        VirError: SYSTEM_ERROR naming the file; what the kernel refuses has not changed.
    """
    path = layout().folder(limit.controller, group) / limit.file
    try:
        path.write_text(limit.value)
    except OSError as error:
        detail = f"Unable to write '{limit.value}' to '{path}': {error.strerror}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error


def write_quietly(group: str, limit: Limit) -> None:
    """Set a value again that was there before."""
    with contextlib.suppress(VirError):
        write(group, limit)


async def freeze(group: str, *, on: bool) -> None:
    """Stop every process of the container, or let them run.

    Raises:
        VirError: SYSTEM_ERROR; OPERATION_FAILED: a process cannot be stopped in time, and all run.
    """
    version_1 = "freezer" in layout().legacy
    file, words = ("freezer.state", ("THAWED", "FROZEN")) if version_1 else (
        "cgroup.freeze", ("0", "1"),
    )  # fmt: skip
    write(group, Limit("freezer", file, words[on]))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + FREEZE_S
    while is_frozen(group) is not on:
        if loop.time() > deadline:
            if on:
                write(group, Limit("freezer", file, words[0]))
            detail = f"the processes of {group} do not stop: one waits for the host's kernel"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.LXC)
        await asyncio.sleep(PAUSE_S)


def is_frozen(group: str) -> bool:
    """Whether every process of the container stands still."""
    if "freezer" in layout().legacy:
        return read("freezer", group, "freezer.state") == "FROZEN"
    return "frozen 1" in read("freezer", group, "cgroup.events")


def folders(group: str) -> Iterator[Path]:
    """The container's folders that there are, in every hierarchy."""
    for path in dict.fromkeys(layout().hierarchies.values()):
        if (path / group).is_dir():
            yield path / group


def members(group: str) -> set[int]:
    """The processes of the container, in groups of its own too."""
    found: set[int] = set()
    for folder in folders(group):
        for path, _, _ in os.walk(folder):
            with contextlib.suppress(OSError, ValueError):
                found |= {int(word) for word in (Path(path) / "cgroup.procs").read_text().split()}
    return found


def kill(group: str) -> None:
    """Send SIGKILL to every process of the container."""
    for pid in members(group):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remove(group: str) -> None:
    """Remove the container's groups, those that it made itself first; none is no error."""
    for folder in folders(group):
        for path, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)


def thaw_quietly(group: str) -> None:
    """Let processes run, so that they can be killed; where there are none it is no error."""
    if "freezer" in layout().legacy:
        path, word = layout().folder("freezer", group) / "freezer.state", "THAWED"
    else:
        path, word = layout().folder("freezer", group) / "cgroup.freeze", "0"
    with contextlib.suppress(OSError):
        path.write_text(word)


def prepare(group: str) -> None:
    """Let version 2 pass its controllers on to where the container's group will be.

    liblxc makes the group; what it may not have is refused when its limits are written.
    """
    root = layout().hierarchies.get(UNIFIED)
    if root is None:
        return
    here = root
    for part in ("", *Path(group).parent.parts):
        here = here / part
        with contextlib.suppress(OSError):
            here.mkdir(exist_ok=True)
            for word in (here / "cgroup.controllers").read_text().split():
                with contextlib.suppress(OSError):
                    (here / "cgroup.subtree_control").write_text(f"+{word}")
