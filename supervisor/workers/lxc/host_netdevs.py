"""Network devices of the host that a container has for a while: lent, and taken back as the same.

Owns: which they are in the container's network, kept in its folder; the network beyond its end.
May touch: that network. May not touch: the host's, but for what comes back.

A container may rename what it has, and give another device that name. The kernel's number of a
device stays: by that it is found again, while nothing in the container can run.
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
from supervisor.workers import cgroups
from supervisor.workers.lxc.commands import COMMAND_S
from supervisor.workers.lxc.container import (
    Container,
    ContainerResources,
    read_resources,
    save_resources,
)
from supervisor.workers.lxc.filesystem_mounts import MOUNT
from supervisor.workers.lxc.interfaces import IP, NSENTER, run_command

NETNS_FILE: Final = "net"  # the file in a container's folder where its network is kept

log = logging.getLogger(__name__)


class NetDevice(msgspec.Struct):
    """A network device, as ip(8) tells of it."""

    ifindex: int
    ifname: str


NET_DEVICES: Final = msgspec.json.Decoder(list[NetDevice])


def parse_netdevs(text: str) -> dict[int, str]:
    """The names of network devices by their numbers, as `ip -j link` tells them.

    Raises:
        VirError: INTERNAL_ERROR: it tells something else.
    """
    try:
        return {link.ifindex: link.ifname for link in NET_DEVICES.decode(text)}
    except msgspec.MsgspecError as error:
        detail = f"the container's network devices cannot be read: {error}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error


async def list_netdevs(netns: str) -> dict[int, str]:
    """The network devices of a network.

    Args:
        netns: the file that names it.

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
    """Remember which devices these are that have just come into a container's network.

    Raises:
        VirError: INTERNAL_ERROR: they are not there.
    """
    indexes = {name: number for number, name in (await list_netdevs(netns_path(pid))).items()}
    for name in names:
        if name not in indexes:
            detail = f"the network device '{name}' is not in the container that it is lent to"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
        resources.host_netdevs[name] = indexes[name]
    save_resources(folder, resources)


async def pin_netns(container: Container) -> None:
    """Keep the container's network beyond its end, for what is lent to it now is given back then.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be kept.
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
    """Take a lent device back from a running container, which stands still meanwhile.

    Raises:
        VirError: OPERATION_FAILED: the container has got rid of it; INTERNAL_ERROR.
    """
    resources = read_resources(container.folder, container.group)
    is_paused = container.state is DomainState.PAUSED
    if not is_paused:
        await cgroups.freeze(container.group, frozen=True)
    try:
        await _move_to_host(netns_path(container.init_pid), resources, name)
    finally:
        if not is_paused:
            await cgroups.freeze(container.group, frozen=False)
    resources.host_netdevs.pop(name, None)
    save_resources(container.folder, resources)


async def return_devices(folder: Path, resources: ContainerResources, domain: Domain) -> None:
    """Take the host's devices out of the network that an ended container has left."""
    path = folder / NETNS_FILE
    if str(path) not in resources.mounts:
        return
    for hostdev in domain.devices.hostdevs:
        name = hostdev.source.interface
        if hostdev.type == "net" and name:
            try:
                await _move_to_host(str(path), resources, name)
            except VirError as error:
                log.warning("%s: '%s' is not given back: %s", domain.name, name, error)


async def _move_to_host(netns: str, resources: ContainerResources, name: str) -> None:
    """Move a device to the host's network, under the name that it had there."""
    present = (await list_netdevs(netns)).get(resources.host_netdevs.get(name, 0))
    if present is None:
        detail = f"the container has got rid of '{name}': the kernel gives a real one back itself"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.LXC)
    words = ["link", "set", "dev", present, "netns", str(os.getpid()), "name", name]
    await run_command([NSENTER, f"--net={netns}", "--", IP, *words])


def netns_path(pid: int) -> str:
    """The file that names a process's network."""
    return f"/proc/{pid}/ns/net"
