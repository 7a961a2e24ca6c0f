"""Device nodes for a container, owned by its mapped root.

Owns: a tmpfs in the container's folder that has the nodes; binding them into the running container.
May touch: both.

The host's nodes belong to users that a container's <idmap> does not map, and a device node that is
made in a user namespace cannot be opened. libvirt makes nodes of the mapped root's, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from conf.domain import Domain
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.lxc.bind_mount import bind, unbind
from supervisor.workers.lxc.commands import run_program
from supervisor.workers.lxc.config.mounts import node_paths
from supervisor.workers.lxc.container import Container, ContainerResources, save_resources
from supervisor.workers.lxc.filesystem_mounts import MOUNT

NODES: Final = "nodes"  # the mount point in the container's folder
OPTIONS: Final = "mode=755,size=64k,nr_inodes=4096,nosuid,noexec"


def mapped_root(domain: Domain) -> tuple[int, int]:
    """Return the host's uid and gid of the container's root."""
    if domain.idmap is None:
        return 0, 0
    maps = (domain.idmap.uids, domain.idmap.gids)
    user, group = (next((ids.target for ids in ranges if ids.start == 0), 0) for ranges in maps)
    return user, group


async def make_all(domain: Domain, folder: Path, resources: ContainerResources) -> dict[str, str]:
    """Make a node for every device that the XML names; their paths by the host's paths.

    Raises:
        VirError: INTERNAL_ERROR naming the device.
    """
    sources = [source for source, _ in node_paths(domain)]
    return await _make(sources, mapped_root(domain), folder, resources)


async def _make(
    sources: Iterable[str], owner: tuple[int, int], folder: Path, resources: ContainerResources
) -> dict[str, str]:
    paths = list(sources)
    if not paths:
        return {}
    mount_point = folder / NODES
    if str(mount_point) not in resources.mounts:
        mount_point.mkdir(mode=0o755, exist_ok=True)
        resources.mounts.append(str(mount_point))
        save_resources(folder, resources)
    if not await asyncio.to_thread(os.path.ismount, mount_point):
        status, output = await run_program(
            [MOUNT, "-t", "tmpfs", "-o", OPTIONS, "virtvisor", str(mount_point)]
        )
        if status != 0:
            detail = f"the tmpfs of the container's device nodes cannot be mounted: {output}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
    return {source: str(make_node(source, mount_point, owner)) for source in paths}


def make_node(source: str, folder: Path, owner: tuple[int, int]) -> Path:
    """Make a node of the type, number and mode of the host's; an existing one is updated.

    Raises:
        VirError: INTERNAL_ERROR naming the device.
    """
    try:
        status = os.stat(source)
        kind = "b" if stat.S_ISBLK(status.st_mode) else "c"
        number = f"{os.major(status.st_rdev)}-{os.minor(status.st_rdev)}"
        path = folder / f"{kind}-{number}"
        with contextlib.suppress(FileExistsError):
            os.mknod(path, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev)
        os.chmod(path, stat.S_IMODE(status.st_mode))
        os.chown(path, *owner)
    except OSError as error:
        detail = f"the device '{source}' cannot be given to a container: {error.strerror}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error
    return path


async def add(
    container: Container, source: str, target: str, resources: ContainerResources
) -> None:
    """Make a device node in the running container.

    Raises:
        VirError: SYSTEM_ERROR naming the path; INTERNAL_ERROR.
    """
    owner = mapped_root(container.domain)
    init = container.init
    if init is None or init.exited:
        raise _error("create", target, "the container has no init at the moment")
    nodes = await _make([source], owner, container.folder, resources)
    try:
        await asyncio.to_thread(bind, init, nodes[source], target, owner)
    except OSError as error:
        raise _error("create", target, error.strerror or str(error)) from error


async def remove(container: Container, target: str) -> None:
    """Remove a device node from the running container; a missing one is no error.

    Raises:
        VirError: SYSTEM_ERROR naming the path.
    """
    if container.init is None or container.init.exited:
        raise _error("remove", target, "the container has no init at the moment")
    try:
        await asyncio.to_thread(unbind, container.init, target)
    except OSError as error:
        raise _error("remove", target, error.strerror or str(error)) from error


def _error(verb: str, target: str, why: str) -> VirError:
    detail = f"Unable to {verb} device {target} in the container: {why}"
    return VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.LXC)
