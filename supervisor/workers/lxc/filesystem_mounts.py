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
from supervisor.workers.lxc.commands import run
from supervisor.workers.lxc.container import Held, keep_held

MOUNT: Final = "/usr/bin/mount"
UMOUNT: Final = "/usr/bin/umount"
MOUNTS: Final = Path("/proc/self/mounts")
ESCAPE: Final = re.compile(rb"\\([0-3][0-7]{2})")
RESTRICTIONS: Final = (
    *((os.ST_NOSUID, "nosuid"), (os.ST_NODEV, "nodev"), (os.ST_NOEXEC, "noexec")),
    *((os.ST_NOATIME, "noatime"), (os.ST_NODIRATIME, "nodiratime")),
)

log = logging.getLogger(__name__)


def images(domain: Domain) -> list[Filesystem]:
    """The file systems that are in images or on block devices."""
    return [one for one in domain.devices.filesystems if one.type in ("file", "block")]


def locked(domain: Domain) -> list[Filesystem]:
    """The folders and files of the host that mapped users may only read."""
    if domain.idmap is None:
        return []
    return [one for one in domain.devices.filesystems if one.type == "mount" and one.readonly]


def lock_command(source: str, flags: int, place: Path) -> list[str]:
    """What binds a folder or file so that it can only be read; nothing mounted later shows there.

    Args:
        source: on the host.
        flags: statvfs(3)'s of its mount, whose other restrictions stay.
        place: where.
    """
    kept = [word for bit, word in RESTRICTIONS if flags & bit]
    return [
        MOUNT,
        "--make-private",
        "-o",
        ",".join(["bind", "ro", *kept]),
        "--",
        source,
        str(place),
    ]


def mount_command(filesystem: Filesystem, place: Path) -> list[str]:
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
    words = [MOUNT]
    options = ["ro"] if filesystem.readonly else []
    if filesystem.type == "file":
        options.append("loop")
    if options:
        words += ["-o", ",".join(options)]
    source = filesystem.source_file if filesystem.type == "file" else filesystem.source_dev
    return [*words, "--", source or "", str(place)]


async def mount_all(domain: Domain, folder: Path, held: Held) -> dict[str, str]:
    """Mount every image, and what is only read; where each is, by its target.

    Raises:
        VirError: INTERNAL_ERROR naming the target; those before it are still mounted.
    """
    found: dict[str, str] = {}
    for number, filesystem in enumerate(images(domain)):
        place = folder / f"image{number}"
        place.mkdir(mode=0o755, exist_ok=True)
        await _mount(mount_command(filesystem, place), filesystem, place, folder, held)
        found[filesystem.target_dir or ""] = str(place)
    for number, filesystem in enumerate(locked(domain)):
        place, source = folder / f"read{number}", filesystem.source_dir or ""
        if await asyncio.to_thread(os.path.isdir, source):
            place.mkdir(mode=0o755, exist_ok=True)
        else:
            place.touch()
        flags = (await asyncio.to_thread(os.statvfs, source)).f_flag
        await _mount(lock_command(source, flags, place), filesystem, place, folder, held)
        found[filesystem.target_dir or ""] = str(place)
    return found


async def _mount(
    command: list[str], filesystem: Filesystem, place: Path, folder: Path, held: Held
) -> None:
    held.mounts.append(str(place))
    keep_held(folder, held)
    status, words = await run(command)
    if status != 0:
        detail = f"the file system '{filesystem.target_dir}' cannot be mounted: {words}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)


async def unmount(place: str) -> str:
    """Unmount what is mounted somewhere; the complaint, if it is mounted still."""
    if not await asyncio.to_thread(mounted_at, place):
        return ""
    status, words = await run([UMOUNT, "--", place])
    if status != 0:
        status, words = await run([UMOUNT, "--lazy", "--", place])
    return words if status else ""


def mounted_at(place: str | Path, *, below: bool = False) -> list[str]:
    """The mounts at a place, or below it, the oldest first; a bound file is one, too."""
    real = os.path.realpath(place)
    found = places(MOUNTS.read_bytes())
    return [one for one in found if (one.startswith(f"{real}/") if below else one == real)]


def places(table: bytes) -> list[str]:
    """The second fields of a table as of proc(5)'s mounts, without their escapes."""
    rows = (line.split(b" ") for line in table.split(b"\n"))
    fields = (row[1] for row in rows if len(row) > 1)
    return [os.fsdecode(ESCAPE.sub(lambda m: bytes([int(m[1], 8)]), one)) for one in fields]


async def remove_folder(folder: Path) -> None:
    """Remove a container's folder; what is mounted there is unmounted, never emptied."""
    for place in reversed(await asyncio.to_thread(mounted_at, folder, below=True)):
        complaint = await unmount(place)
        if complaint:
            log.error("what is at %s stays mounted: %s", place, complaint)
            return
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
