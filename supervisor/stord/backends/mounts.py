"""How file systems are mounted, made and found: argument lists, and what is read of the answers.

Owns: those words. Pure: no program is run here, no file is read.
Source: mount(8), mkfs(8), blkid(8), showmount(8); proc(5) for mountinfo.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from conf.storage import Pool, PoolHost, PoolSource, PoolType

#: What a pool is mounted with: nothing in it is to be run or taken for a device.
MOUNT_OPTIONS: Final = ("nodev", "nosuid", "noexec")
#: The options by which mkfs of a format does not ask before it writes over something.
FORCE_OPTIONS: Final = {
    "ext2": "-F",
    "ext3": "-F",
    "ext4": "-F",
    "xfs": "-f",
    "ocfs2": "-F",
    "gfs2": "-O",
}
AUTO: Final = "auto"
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo."""

    target: str
    format: str
    source: str


def read_mounts(text: str) -> list[Mount]:
    """Read /proc/self/mountinfo; the last line of a target is the one that counts."""
    mounts = []
    for line in text.splitlines():
        place, _, rest = line.partition(" - ")
        before, after = place.split(" "), rest.split(" ")
        if len(before) > 4 and len(after) > 1:
            mounts.append(Mount(_unescape(before[4]), after[0], _unescape(after[1])))
    return mounts


def _unescape(text: str) -> str:
    """A word without its escapes: a backslash and 040 stand for a space."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)


def mounted_at(mounts: list[Mount], target: str) -> Mount | None:
    """What is mounted at a path."""
    return next((mount for mount in reversed(mounts) if mount.target == target), None)


def mount_source(pool: Pool) -> str:
    """What a pool mounts, as mount is told."""
    source = pool.source
    if pool.type is PoolType.FS:
        return posixpath.join("/", source.devices[0].path)
    host, directory = source.hosts[0].name or "", source.dir or ""
    if ":" in host and not host.startswith("["):  # an address of IPv6
        host = f"[{host}]"
    if source.format == "cifs":
        return f"//{host}/{directory.lstrip('/')}"
    if source.format == "glusterfs":
        return f"{host}:{directory.lstrip('/')}"
    return f"{host}:{directory}"


def plan_mount(pool: Pool) -> list[str]:
    """The command that mounts a pool."""
    source_format = pool.source.format or AUTO
    options = [*MOUNT_OPTIONS, *_options(pool, source_format)]
    kind = [] if source_format == AUTO else ["-t", source_format]
    return ["mount", *kind, "-o", ",".join(options), "--", mount_source(pool), pool.path]


def _options(pool: Pool, source_format: str) -> list[str]:
    version = pool.source.protocol_version
    options = [f"nfsvers={version}"] if version else []
    if source_format == "glusterfs":
        options.append("direct-io-mode=1")
    if source_format == "cifs" and not pool.mount_options:
        options.append("guest")
    return options + [
        f"{option.name}={option.value}" if option.value else f"{option.name}"
        for option in pool.mount_options
    ]


def plan_unmount(pool: Pool) -> list[str]:
    """The command that unmounts a pool."""
    return ["umount", "--", pool.path]


def plan_blkid(device: str) -> list[str]:
    """The command that tells what is on a device: exit status 2 when nothing is."""
    return ["blkid", "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", "--", device]


def plan_mkfs(pool: Pool) -> list[str]:
    """The command that makes a pool's file system."""
    source_format = pool.source.format or AUTO
    forced = [FORCE_OPTIONS[source_format]] if source_format in FORCE_OPTIONS else []
    return ["mkfs", "-t", source_format, *forced, mount_source(pool)]


def plan_exports(host: str) -> list[str]:
    """The command that asks an NFS server what it exports."""
    return ["showmount", "--no-headers", "--exports", "--", host]


def read_exports(text: str, host: str) -> list[PoolSource]:
    """What an NFS server exports, as sources of pools."""
    sources = []
    for line in text.splitlines():
        directory = line.strip().split(" ")[0]
        if directory.startswith("/"):
            sources.append(PoolSource(hosts=[PoolHost(name=host)], dir=directory, format="nfs"))
    return sources
