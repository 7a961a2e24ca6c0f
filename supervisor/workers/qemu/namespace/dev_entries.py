"""Which nodes and links a guest's private /dev has, planned from paths of the host.

Owns: that plan. May touch: the status of files, through `Host` alone.
Source: libvirt 9.0, qemu_namespace.c: what a guest's /dev has in it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEV: Final = "/dev"
MAX_LINKS: Final = 40  # as the kernel
MOUNT_POINT: Final = 4  # which field of a line of mountinfo
OCTAL: Final = re.compile(r"\\([0-7]{3})")


class EntryKind(StrEnum):
    """How an entry is made."""

    NODE = "node"  # mknod
    LINK = "link"
    BIND = "bind"  # a file, socket or folder of the host, mounted there


@dataclass(frozen=True, slots=True)
class DevEntry:
    """One entry of a private /dev."""

    path: str  # absolute, as on the host
    kind: EntryKind
    mode: int = 0  # type and permissions, as on the host
    device: int = 0  # of a node
    uid: int = 0
    gid: int = 0
    target: str = ""  # of a link

    @property
    def parts(self) -> list[str]:
        """The names below /dev that lead to it."""
        return self.path.removeprefix(f"{DEV}/").split("/")


@dataclass(frozen=True, slots=True)
class Host:
    """How the host's files are looked at."""

    lstat: Callable[[str], os.stat_result] = os.lstat
    readlink: Callable[[str], str] = os.readlink


def plan_entries(
    paths: Iterable[str], kept: Iterable[str], host: Host | None = None
) -> list[DevEntry]:
    """Plan what a private /dev needs for QEMU to open these paths.

    Args:
        paths: files of the host; those that do not lead into /dev need nothing there. A missing
            one is left out: QEMU reports that better.
        kept: folders and files below /dev that are mounts of their own, and are in the private
            one as they are.
        host: how to look at files; None: as they are.
    """
    host = host or Host()
    mounts = tuple(kept)
    entries: dict[str, DevEntry] = {}
    for path in paths:
        if path:
            for entry in _walk(path, host):
                if not is_below(entry.path, mounts):
                    entries.setdefault(entry.path, entry)
    return list(entries.values())


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Return whether a path is one of these, or in one of them."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _walk(path: str, host: Host) -> Iterator[DevEntry]:
    """Follow a path as the kernel does; yield the links below /dev on its way, and its end."""
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    at, links = "", 0
    while todo:
        part = todo.pop()
        if part == "..":
            at = os.path.dirname(at).rstrip("/")
            continue
        here = f"{at}/{part}"
        try:
            status = host.lstat(here)
            target = host.readlink(here) if stat.S_ISLNK(status.st_mode) else ""
        except OSError:
            return
        if target:
            links += 1
            if links > MAX_LINKS:
                return
            if here.startswith(f"{DEV}/"):
                yield DevEntry(here, EntryKind.LINK, status.st_mode, target=target)
            todo += [name for name in reversed(target.split("/")) if name not in ("", ".")]
            at = "" if target.startswith("/") else at
            continue
        at = here
    if at.startswith(f"{DEV}/"):
        yield _entry(at, status)


def _entry(path: str, status: os.stat_result) -> DevEntry:
    mode = status.st_mode
    is_node = stat.S_ISBLK(mode) or stat.S_ISCHR(mode)
    return DevEntry(
        path,
        EntryKind.NODE if is_node else EntryKind.BIND,
        mode,
        status.st_rdev if is_node else 0,
        status.st_uid,
        status.st_gid,
    )


def mounts_below_dev(mountinfo: str) -> list[str]:
    """List the outermost mount points below /dev, from the text of /proc/PID/mountinfo."""
    points: list[str] = []
    for line in mountinfo.splitlines():
        fields = line.split(" ", MOUNT_POINT + 1)
        # A host of many containers has thousands of mounts, and few of them here.
        if len(fields) > MOUNT_POINT and fields[MOUNT_POINT].startswith(f"{DEV}/"):
            point = OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[MOUNT_POINT])
            if point not in points:
                points.append(point)
    return [
        point
        for point in points
        if not is_below(point, [other for other in points if other != point])
    ]
