"""mount, mkfs, blkid and showmount command lines and output. Pure.

Owns: argument lists and parsing of output.
Source: mount(8), mkfs(8), blkid(8), showmount(8); proc(5) for mountinfo.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from conf.storage import Pool, PoolHost, PoolSource, PoolType

#: libvirt's default options: a pool has no programs and no device nodes.
MOUNT_OPTIONS: Final = ("nodev", "nosuid", "noexec")
#: Options of mkfs that suppress the question before it overwrites a device.
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
    """A mount of /proc/self/mountinfo."""

    target: str
    format: str
    source: str


def read_mounts(text: str) -> list[Mount]:
    """Parse /proc/self/mountinfo."""
    mounts = []
    for line in text.splitlines():
        place, _, rest = line.partition(" - ")
        before, after = place.split(" "), rest.split(" ")
        if len(before) > 4 and len(after) > 1:
            mounts.append(Mount(_unescape(before[4]), after[0], _unescape(after[1])))
    return mounts


def _unescape(text: str) -> str:
    """Decode the kernel's octal escapes: a space is backslash 040."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)


def mounted_at(mounts: list[Mount], target: str) -> Mount | None:
    """Return the topmost mount at a path: later mounts hide earlier ones."""
    return next((mount for mount in reversed(mounts) if mount.target == target), None)


def mount_source(pool: Pool) -> str:
    """Return the source argument of mount."""
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
    """Mount a pool."""
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
    """Unmount a pool."""
    return ["umount", "--", pool.path]


def plan_blkid(device: str) -> list[str]:
    """Probe a device for signatures; exit status 2 when there are none."""
    return ["blkid", "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", "--", device]


def plan_mkfs(pool: Pool) -> list[str]:
    """Create a pool's file system."""
    source_format = pool.source.format or AUTO
    forced = [FORCE_OPTIONS[source_format]] if source_format in FORCE_OPTIONS else []
    return ["mkfs", "-t", source_format, *forced, mount_source(pool)]


def plan_exports(host: str) -> list[str]:
    """List the exports of an NFS server."""
    return ["showmount", "--no-headers", "--exports", "--", host]


def read_exports(text: str, host: str) -> list[PoolSource]:
    """Parse showmount's output to pool sources."""
    sources = []
    for line in text.splitlines():
        directory = line.strip().split(" ")[0]
        if directory.startswith("/"):
            sources.append(PoolSource(hosts=[PoolHost(name=host)], dir=directory, format="nfs"))
    return sources
