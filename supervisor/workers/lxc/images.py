"""File systems in images: mounted on the host, in the container's folder, while it runs.

Owns: these mounts. May touch: the container's folder; the images by mount(8).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.filesystem import Filesystem
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.lxc.commands import run
from supervisor.workers.lxc.container import Held, keep_held

MOUNT: Final = "/usr/bin/mount"
UMOUNT: Final = "/usr/bin/umount"


def images(domain: Domain) -> list[Filesystem]:
    """The file systems that are in images or on block devices."""
    return [one for one in domain.devices.filesystems if one.type in ("file", "block")]


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
    """Mount every image; where each is, by its target.

    Raises:
        VirError: INTERNAL_ERROR naming the image; those before it are still mounted.
    """
    found: dict[str, str] = {}
    for number, filesystem in enumerate(images(domain)):
        place = folder / f"image{number}"
        place.mkdir(mode=0o755, exist_ok=True)
        held.mounts.append(str(place))
        keep_held(folder, held)
        command = mount_command(filesystem, place)
        status, words = await run(command)
        if status != 0:
            detail = f"the file system '{filesystem.target_dir}' cannot be mounted: {words}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
        found[filesystem.target_dir or ""] = str(place)
    return found


async def unmount(place: str) -> str:
    """Unmount what is mounted somewhere; the complaint, if it is mounted still."""
    if not await asyncio.to_thread(os.path.ismount, place):
        return ""
    status, words = await run([UMOUNT, "--", place])
    if status != 0:
        status, words = await run([UMOUNT, "--lazy", "--", place])
    return words if status else ""
