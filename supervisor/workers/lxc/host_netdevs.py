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
from supervisor.workers.lxc import cgroups
from supervisor.workers.lxc.commands import COMMAND_S
from supervisor.workers.lxc.container import Container, Held, keep_held, read_held
from supervisor.workers.lxc.filesystem_mounts import MOUNT
from supervisor.workers.lxc.interfaces import IP, NSENTER, run_command

NETWORK: Final = "net"  # the file in a container's folder where its network is kept

log = logging.getLogger(__name__)


class Link(msgspec.Struct):
    """A network device, as ip(8) tells of it."""

    ifindex: int
    ifname: str


LINKS: Final = msgspec.json.Decoder(list[Link])


def read_links(text: str) -> dict[int, str]:
    """The names of network devices by their numbers, as `ip -j link` tells them.

    Raises:
        VirError: INTERNAL_ERROR: it tells something else.
    """
    try:
        return {link.ifindex: link.ifname for link in LINKS.decode(text)}
    except msgspec.MsgspecError as error:
        detail = f"the container's network devices cannot be read: {error}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error


async def links_in(network: str) -> dict[int, str]:
    """The network devices of a network.

    Args:
        network: the file that names it.

    Raises:
        VirError: INTERNAL_ERROR: they cannot be read.
    """
    argv = [NSENTER, f"--net={network}", "--", IP, "-j", "link", "show"]
    try:
        ended = await subprocesses.run(argv, deadline_s=COMMAND_S)
    except (OSError, TimeoutError) as error:
        detail = f"the container's network devices cannot be read: {error}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error
    return read_links(ended.output)


async def note(folder: Path, held: Held, pid: int, names: list[str]) -> None:
    """Remember which devices these are that have just come into a container's network.

    Raises:
        VirError: INTERNAL_ERROR: they are not there.
    """
    found = {name: number for number, name in (await links_in(network_of(pid))).items()}
    for name in names:
        if name not in found:
            detail = f"the network device '{name}' is not in the container that it is lent to"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
        held.lent[name] = found[name]
    keep_held(folder, held)


async def pin_network(container: Container) -> None:
    """Keep the container's network beyond its end, for what is lent to it now is given back then.

    Raises:
        VirError: INTERNAL_ERROR: it cannot be kept.
    """
    held = read_held(container.folder, container.group)
    place = container.folder / NETWORK
    if str(place) in held.mounts:
        return
    place.touch()
    held.mounts.append(str(place))
    keep_held(container.folder, held)
    await run_command([MOUNT, "--bind", network_of(container.init_pid), str(place)])


async def take_back(container: Container, name: str) -> None:
    """Take a lent device back from a running container, which stands still meanwhile.

    Raises:
        VirError: OPERATION_FAILED: the container has got rid of it; INTERNAL_ERROR.
    """
    held = read_held(container.folder, container.group)
    stands = container.state is DomainState.PAUSED
    if not stands:
        await cgroups.freeze(container.group, on=True)
    try:
        await _move(network_of(container.init_pid), held, name)
    finally:
        if not stands:
            await cgroups.freeze(container.group, on=False)
    held.lent.pop(name, None)
    keep_held(container.folder, held)


async def give_back(folder: Path, held: Held, domain: Domain) -> None:
    """Take the host's devices out of the network that an ended container has left."""
    place = folder / NETWORK
    if str(place) not in held.mounts:
        return
    for hostdev in domain.devices.hostdevs:
        name = hostdev.source.interface
        if hostdev.type == "net" and name:
            try:
                await _move(str(place), held, name)
            except VirError as error:
                log.warning("%s: '%s' is not given back: %s", domain.name, name, error)


async def _move(network: str, held: Held, name: str) -> None:
    """Move a device to the host's network, under the name that it had there."""
    present = (await links_in(network)).get(held.lent.get(name, 0))
    if present is None:
        detail = f"the container has got rid of '{name}': the kernel gives a real one back itself"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.LXC)
    words = ["link", "set", "dev", present, "netns", str(os.getpid()), "name", name]
    await run_command([NSENTER, f"--net={network}", "--", IP, *words])


def network_of(pid: int) -> str:
    """The file that names a process's network."""
    return f"/proc/{pid}/ns/net"
