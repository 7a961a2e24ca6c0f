"""Network devices of the host in a container's namespace (<hostdev type='net'>), and their return.

Owns: the record of their indexes, in the container's folder; the namespace after the container.
May touch: that namespace. May not touch: the host's, except for the returned devices.

A container may rename a device, and give another one its name. The ifindex stays: by that a device
is found again, while the container's processes are frozen or dead. The namespace is kept by a bind
mount, because the kernel destroys a virtual device with its last namespace.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from conf.domain import Domain
from rpc.enums import DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime import subprocesses
from supervisor.workers.cgroups import containers
from supervisor.workers.lxc.commands import COMMAND_S
from supervisor.workers.lxc.container import (
    Container,
    ContainerResources,
    read_resources,
    save_resources,
)
from supervisor.workers.lxc.filesystem_mounts import MOUNT
from supervisor.workers.lxc.interfaces import IP, NSENTER, run_command

NETNS_FILE: Final = "net"  # in the container's folder: a bind mount of its network namespace

log = logging.getLogger(__name__)


class NetDevice(msgspec.Struct):
    """A network device in the output of `ip -j link`."""

    ifindex: int
    ifname: str


NET_DEVICES: Final = msgspec.json.Decoder(list[NetDevice])


def parse_netdevs(text: str) -> dict[int, str]:
    """Parse `ip -j link`: the names of network devices by ifindex.

    Raises:
        VirError: INTERNAL_ERROR: it is something else.
    """
    try:
        return {link.ifindex: link.ifname for link in NET_DEVICES.decode(text)}
    except msgspec.MsgspecError as error:
        detail = f"the container's network devices cannot be read: {error}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error


async def list_netdevs(netns: str) -> dict[int, str]:
    """List the network devices of a namespace.

    Args:
        netns: the file of the namespace.

    Raises:
        VirError: INTERNAL_ERROR: they cannot be read.
    """
    argv = [NSENTER, f"--net={netns}", "--", IP, "-j", "link", "show"]
    try:
        ended = await subprocesses.run(argv, deadline_s=COMMAND_S)
    except (OSError, TimeoutError) as error:
        detail = f"the container's network devices cannot be read: {error}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error
    return parse_netdevs(ended.output)


async def record_devices(
    folder: Path, resources: ContainerResources, pid: int, names: list[str]
) -> None:
    """Record the indexes of devices that were just moved into a container's namespace.

    Raises:
        VirError: INTERNAL_ERROR: one is not there.
    """
    indexes = {name: number for number, name in (await list_netdevs(netns_path(pid))).items()}
    for name in names:
        if name not in indexes:
            detail = f"the network device '{name}' is not in the container that it was moved to"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
        resources.host_netdevs[name] = indexes[name]
    save_resources(folder, resources)


async def pin_netns(container: Container) -> None:
    """Bind-mount the container's network namespace, so that it outlives the container.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be mounted.
    """
    resources = read_resources(container.folder, container.group)
    path = container.folder / NETNS_FILE
    if str(path) in resources.mounts:
        return
    path.touch()
    resources.mounts.append(str(path))
    save_resources(container.folder, resources)
    await run_command([MOUNT, "--bind", netns_path(container.init_pid), str(path)])


async def return_device(container: Container, name: str) -> None:
    """Move a device back from a running container, which is frozen meanwhile.

    Raises:
        VirError: OPERATION_FAILED: the container has removed it; INTERNAL_ERROR.
    """
    resources = read_resources(container.folder, container.group)
    is_paused = container.state is DomainState.PAUSED
    if not is_paused:
        await containers.freeze(container.group, frozen=True)
    try:
        await _move_to_host(netns_path(container.init_pid), resources, name)
    finally:
        if not is_paused:
            await containers.freeze(container.group, frozen=False)
    resources.host_netdevs.pop(name, None)
    save_resources(container.folder, resources)


async def return_devices(folder: Path, resources: ContainerResources, domain: Domain) -> None:
    """Move the host's devices out of the namespace of a stopped container."""
    path = folder / NETNS_FILE
    if str(path) not in resources.mounts:
        return
    for hostdev in domain.devices.hostdevs:
        name = hostdev.source.interface
        if hostdev.type == "net" and name:
            try:
                await _move_to_host(str(path), resources, name)
            except VirError as error:
                log.warning(
                    "%s: the network device '%s' is not returned to the host: %s",
                    domain.name,
                    name,
                    error,
                )


async def _move_to_host(netns: str, resources: ContainerResources, name: str) -> None:
    """Move a device to the host's namespace, under its former name there."""
    present = (await list_netdevs(netns)).get(resources.host_netdevs.get(name, 0))
    if present is None:
        detail = (
            f"the container has removed '{name}': the kernel returns a physical device by itself"
        )
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.LXC)
    arguments = ["link", "set", "dev", present, "netns", str(os.getpid()), "name", name]
    await run_command([NSENTER, f"--net={netns}", "--", IP, *arguments])


def netns_path(pid: int) -> str:
    """Locate the file of a process's network namespace."""
    return f"/proc/{pid}/ns/net"
