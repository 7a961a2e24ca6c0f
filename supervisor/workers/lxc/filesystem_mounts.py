"""File systems in images: mounted on the host, in the container's folder, while it runs.

Owns: these mounts. May touch: the container's folder; the images by mount(8).

So are folders that a container with an <idmap> may only read. Were they made so within it, its root
could make them writable again; what the host made so is locked there.
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
    """The file systems that are in images or on block devices."""
    return [one for one in domain.devices.filesystems if one.type in ("file", "block")]


def read_only(domain: Domain) -> list[Filesystem]:
    """The folders and files of the host that mapped users may only read."""
    if domain.idmap is None:
        return []
    return [one for one in domain.devices.filesystems if one.type == "mount" and one.readonly]


def read_only_command(source: str, flags: int, mount_point: Path) -> list[str]:
    """What binds a folder or file so that it can only be read; nothing mounted later shows there.

    Args:
        source: on the host.
        flags: statvfs(3)'s of its mount, whose other restrictions stay.
        mount_point: where.
    """
    kept = [word for bit, word in RESTRICTIONS if flags & bit]
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
    """What mounts an image; the loop device goes with the mount.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the driver is none that is there.
    """
    if filesystem.driver_type == "nbd":
        detail = (
            f"the file system '{filesystem.target_dir}' is to be served by nbd, which is not done; "
            "use <driver type='loop'/> with a raw image"
        )
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.LXC)
    argv = [MOUNT]
    options = ["ro"] if filesystem.readonly else []
    if filesystem.type == "file":
        options.append("loop")
    if options:
        argv += ["-o", ",".join(options)]
    source = filesystem.source_file if filesystem.type == "file" else filesystem.source_dev
    return [*argv, "--", source or "", str(mount_point)]


async def mount_all(domain: Domain, folder: Path, resources: ContainerResources) -> dict[str, str]:
    """Mount every image, and what is only read; where each is, by its target.

    Raises:
        VirError: INTERNAL_ERROR naming the target; those before it are still mounted.
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
        mount_point, source = folder / f"read{number}", filesystem.source_dir or ""
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
    """Unmount what is mounted somewhere; the complaint, if it is mounted still."""
    if not await asyncio.to_thread(mounts_at, mount_point):
        return ""
    status, output = await run_program([UMOUNT, "--", mount_point])
    if status != 0:
        status, output = await run_program([UMOUNT, "--lazy", "--", mount_point])
    return output if status else ""


def mounts_at(path: str | Path, *, below: bool = False) -> list[str]:
    """The mounts at a place, or below it, the oldest first; a bound file is one, too."""
    real = os.path.realpath(path)
    found = parse_mounts(MOUNTS.read_bytes())
    return [one for one in found if (one.startswith(f"{real}/") if below else one == real)]


def parse_mounts(table: bytes) -> list[str]:
    """The second fields of a table as of proc(5)'s mounts, without their escapes."""
    rows = (line.split(b" ") for line in table.split(b"\n"))
    fields = (row[1] for row in rows if len(row) > 1)
    return [os.fsdecode(ESCAPE.sub(lambda m: bytes([int(m[1], 8)]), one)) for one in fields]


async def remove_folder(folder: Path) -> None:
    """Remove a container's folder; what is mounted there is unmounted, never emptied."""
    for mount_point in reversed(await asyncio.to_thread(mounts_at, folder, below=True)):
        error = await unmount(mount_point)
        if error:
            log.error("what is at %s stays mounted: %s", mount_point, error)
            return
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
