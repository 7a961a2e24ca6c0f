"""Mounts on the host for a container: images and block devices, and read-only directories.

Owns: these mounts, in the container's folder. May touch: that folder; the images by mount(8).

Read-only directories are mounted here if the container has an <idmap>: root of its user namespace
could remount a bind mount of its own read-write, but not one that was read-only in the namespace it
was copied from.
Source: mount_namespaces(7), "Restrictions on mount namespaces".
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.filesystem import Filesystem
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.lxc.commands import run_program
from supervisor.workers.lxc.container import ContainerResources, save_resources

MOUNT: Final = "/usr/bin/mount"
UMOUNT: Final = "/usr/bin/umount"
MOUNTS: Final = Path("/proc/self/mounts")
ESCAPE: Final = re.compile(rb"\\([0-3][0-7]{2})")
RESTRICTIONS: Final = (
    *((os.ST_NOSUID, "nosuid"), (os.ST_NODEV, "nodev"), (os.ST_NOEXEC, "noexec")),
    *((os.ST_NOATIME, "noatime"), (os.ST_NODIRATIME, "nodiratime")),
)

log = logging.getLogger(__name__)


def image_filesystems(domain: Domain) -> list[Filesystem]:
    """List the file systems in images or on block devices."""
    return [fs for fs in domain.devices.filesystems if fs.type in ("file", "block")]


def read_only(domain: Domain) -> list[Filesystem]:
    """List the read-only directories and files of a container with an <idmap>."""
    if domain.idmap is None:
        return []
    return [fs for fs in domain.devices.filesystems if fs.type == "mount" and fs.readonly]


def read_only_command(source: str, flags: int, mount_point: Path) -> list[str]:
    """Build the command that bind-mounts a path read-only, as a private mount.

    Args:
        source: on the host.
        flags: f_flag of statvfs(3), whose nosuid, nodev, … are kept.
        mount_point: in the container's folder.
    """
    kept = [option for bit, option in RESTRICTIONS if flags & bit]
    return [
        MOUNT,
        "--make-private",
        "-o",
        ",".join(["bind", "ro", *kept]),
        "--",
        source,
        str(mount_point),
    ]


def mount_command(filesystem: Filesystem, mount_point: Path) -> list[str]:
    """Build the command that mounts an image; the unmount frees its loop device.

    Raises:
        VirError: CONFIG_UNSUPPORTED: <driver type='nbd'/>.
    """
    if filesystem.driver_type == "nbd":
        detail = (
            f"the file system '{filesystem.target_dir}' has the driver nbd, not supported; "
            "use <driver type='loop'/> with a raw image"
        )
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.LXC)
    argv = [MOUNT]
    options = ["ro"] if filesystem.readonly else []
    if filesystem.type == "file":
        options.append("loop")
    if options:
        argv += ["-o", ",".join(options)]
    return [*argv, "--", filesystem.source_path or "", str(mount_point)]


async def mount_all(domain: Domain, folder: Path, resources: ContainerResources) -> dict[str, str]:
    """Mount every image and read-only directory; the mount points by target.

    Raises:
        VirError: INTERNAL_ERROR naming the target; those before it stay mounted.
    """
    mount_points: dict[str, str] = {}
    for number, filesystem in enumerate(image_filesystems(domain)):
        mount_point = folder / f"image{number}"
        mount_point.mkdir(mode=0o755, exist_ok=True)
        await _mount(
            mount_command(filesystem, mount_point), filesystem, mount_point, folder, resources
        )
        mount_points[filesystem.target_dir or ""] = str(mount_point)
    for number, filesystem in enumerate(read_only(domain)):
        mount_point, source = folder / f"read{number}", filesystem.source_path or ""
        if await asyncio.to_thread(os.path.isdir, source):
            mount_point.mkdir(mode=0o755, exist_ok=True)
        else:
            mount_point.touch()
        flags = (await asyncio.to_thread(os.statvfs, source)).f_flag
        await _mount(
            read_only_command(source, flags, mount_point),
            filesystem,
            mount_point,
            folder,
            resources,
        )
        mount_points[filesystem.target_dir or ""] = str(mount_point)
    return mount_points


async def _mount(
    command: list[str],
    filesystem: Filesystem,
    mount_point: Path,
    folder: Path,
    resources: ContainerResources,
) -> None:
    resources.mounts.append(str(mount_point))
    save_resources(folder, resources)
    status, output = await run_program(command)
    if status != 0:
        detail = f"the file system '{filesystem.target_dir}' cannot be mounted: {output}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)


async def unmount(mount_point: str) -> str:
    """Unmount; returns umount's error, or "" when nothing is mounted there any more."""
    if not await asyncio.to_thread(mounts_at, mount_point):
        return ""
    status, output = await run_program([UMOUNT, "--", mount_point])
    if status != 0:
        status, output = await run_program([UMOUNT, "--lazy", "--", mount_point])
    return output if status else ""


def mounts_at(path: str | Path, *, below: bool = False) -> list[str]:
    """List the mount points at a path, or below it, the oldest first."""
    real = os.path.realpath(path)
    return [
        mount_point
        for mount_point in parse_mounts(MOUNTS.read_bytes())
        if (mount_point.startswith(f"{real}/") if below else mount_point == real)
    ]


def parse_mounts(table: bytes) -> list[str]:
    """Parse the mount points of /proc/self/mounts, whose escapes are octal."""
    rows = (line.split(b" ") for line in table.split(b"\n"))
    fields = (row[1] for row in rows if len(row) > 1)
    return [os.fsdecode(ESCAPE.sub(lambda m: bytes([int(m[1], 8)]), path)) for path in fields]


async def remove_folder(folder: Path) -> None:
    """Unmount everything in a container's folder and remove it; a busy mount keeps the folder."""
    for mount_point in reversed(await asyncio.to_thread(mounts_at, folder, below=True)):
        error = await unmount(mount_point)
        if error:
            log.error("%s cannot be unmounted: %s", mount_point, error)
            return
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
