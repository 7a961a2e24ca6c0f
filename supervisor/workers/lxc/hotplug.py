"""Devices that come to a running container, change, or go.

Owns: which a running container takes, and undoing what failed. May touch: the container's /dev,
its cgroup by liblxc's tool, its network; netd over the bus.
Source: libvirt 9.0's lxc driver: block disks, cards, and the host's devices by <hostdev>.

The live document names a device before the container gets it. If this worker dies on the way, what
was begun can be detached, and goes when the container ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.device_list import add_device, find_alias, find_device, remove_device
from conf.domain.device_xml import Device, parse_device
from conf.domain.devices.disk import Disk
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.interface import Interface
from conf.domain.lxc.defaults import complete_container
from conf.domain.lxc.values import check_hostdev_words
from conf.errors import ConfError
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker import DetachDevice, UpdateDevice
from supervisor.workers.interface_updates import update_interface
from supervisor.workers.interfaces import NETD_TYPES, detach_port
from supervisor.workers.lxc import device_nodes, host_netdevs, interfaces, usb
from supervisor.workers.lxc.checks import device_number
from supervisor.workers.lxc.config import Card
from supervisor.workers.lxc.config.mounts import device_nodes as planned_nodes
from supervisor.workers.lxc.config.privileges import DEVICES
from supervisor.workers.lxc.container import Container, read_held
from supervisor.workers.lxc.liblxc import NAME
from supervisor.workers.lxc.proc_status import is_host_s
from supervisor.workers.lxc.start import assign_aliases

LXC_CGROUP: Final = "/usr/bin/lxc-cgroup"

log = logging.getLogger(__name__)


async def attach(container: Container, xml: str) -> None:
    """Give the container a device; what a failed call had made is gone again.

    Raises:
        ConfError: the container cannot have it. VirError: netd or the kernel refuses.
    """
    container.require_init()
    tag, device = parse_device(xml)
    _refuse(tag, device)
    former = container.domain
    if isinstance(device, Hostdev) and device.mode == "subsystem":
        check_hostdev_words(device)
        usb.settle(device, await asyncio.to_thread(lambda: list(usb.read_devices())))
    candidate = parse_domain(format_domain(former, live=True, secure=True))
    add_device(candidate, tag, device)
    complete_container(candidate, _architecture(candidate))
    assign_aliases(candidate)
    async with AsyncExitStack() as undo:
        undo.callback(_become, container, former)
        _become(container, candidate)
        await _give(container, candidate, device, undo)
        undo.pop_all()
    container.update_xml()


def _become(container: Container, domain: Domain) -> None:
    container.domain = domain
    container.update_xml()


def _refuse(tag: str, device: Device) -> None:
    """Refuse what a running container does not take.

    Raises:
        ConfError: "config_unsupported".
    """
    if not isinstance(device, (Disk, Interface, Hostdev)):
        detail = f"Device type '{tag}' cannot be attached to or detached from a running container"
        raise ConfError("config_unsupported", detail, tag)


def _architecture(domain: Domain) -> str:
    """What the container runs, which was checked when it was defined."""
    return (domain.os.type.arch if domain.os.type else None) or os.uname().machine


async def _give(
    container: Container, candidate: Domain, device: Device, undo: AsyncExitStack
) -> None:
    if isinstance(device, Interface) or (isinstance(device, Hostdev) and device.type == "net"):
        _own_network(container)
    if isinstance(device, Interface):
        await _give_card(container, candidate, device, undo)
    elif isinstance(device, Hostdev) and device.type == "net":
        name = device.source.interface or ""
        await host_netdevs.pin_network(container)
        await _move_in(container, Card(name, name), device, undo)
        held = read_held(container.folder, container.group)
        await host_netdevs.note(container.folder, held, container.init_pid, [name])
    else:
        await _give_node(container, device, undo)


def _own_network(container: Container) -> None:
    """Refuse to change the host's network in the name of a container that shares it.

    Raises:
        VirError: OPERATION_UNSUPPORTED.
    """
    try:
        shares = is_host_s(container.init_pid, "net")
    except OSError:
        return  # it ends: the call fails by itself
    if shares:
        detail = (
            f"the container '{container.name}' has the host's network and takes no cards: give its "
            "definition <features><privnet/></features> or an <interface>, and start it anew"
        )
        raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.LXC)


async def _give_card(
    container: Container, candidate: Domain, device: Interface, undo: AsyncExitStack
) -> None:
    place = next(n for n, one in enumerate(candidate.devices.interfaces) if one is device)
    card = await interfaces.plug(container.context, candidate, device, place)
    live = candidate.devices.interfaces[place]
    live.alias = device.alias
    host_device = live.target_dev or ""
    undo.push_async_callback(detach_port, container.context, container.status.uuid, host_device)
    container.update_xml()
    await _move_in(container, card, live, undo)


async def _move_in(
    container: Container, card: Card, device: Interface | Hostdev, undo: AsyncExitStack
) -> None:
    """Move a device of the host into the container's network, and give it its addresses."""
    pid = container.init_pid
    move = [interfaces.IP, "link", "set", "dev", card.link, "netns", str(pid), "name", card.name]
    await interfaces.run_command(move)
    undo.push_async_callback(_move_out, container, card)
    up = not isinstance(device, Interface) or device.link_state != "down"
    for command in interfaces.settle_commands(card, device.ips, device.routes, up=up):
        await interfaces.run_inside(pid, command)


async def _move_out(container: Container, card: Card) -> None:
    """Move a device of the host back, under the name that it had there."""
    words = ["link", "set", "dev", card.name, "netns", str(os.getpid()), "name", card.link]
    await interfaces.run_inside(container.init_pid, [interfaces.IP, *words])


async def _give_node(container: Container, device: Device, undo: AsyncExitStack) -> None:
    """Have a device's node in the container, and let it be opened."""
    source, target = _node_of(device)
    number, kind = device_number(source), _kind(source)
    rule = f"{kind} {number} {'r' if isinstance(device, Disk) and device.readonly else 'rw'}"
    await _allow(container, rule, allowed=True)
    undo.push_async_callback(_forbid, container, device, f"{kind} {number}")
    held = read_held(container.folder, container.group)
    await device_nodes.give(container, source, target, held)


def _node_of(device: Device) -> tuple[str, str]:
    """A device's node on the host and in the container."""
    alone = Domain()
    alone.after_read()
    if isinstance(device, Disk):
        alone.devices.disks.append(device)
    elif isinstance(device, Hostdev):
        alone.devices.hostdevs.append(device)
    found = next(planned_nodes(alone), None)
    if found is None:
        raise ConfError("no_source", "the device has no source on the host", "devices")
    return found


def _kind(source: str) -> str:
    return "b" if Path(source).is_block_device() else "c"


async def _allow(container: Container, rule: str, *, allowed: bool) -> None:
    """Let the container open a device, or no longer."""
    file = "devices.allow" if allowed else "devices.deny"
    folder = str(container.folder)
    await interfaces.run_command([LXC_CGROUP, "-n", NAME, "-P", folder, file, rule])


async def _forbid(container: Container, device: Device, number: str) -> None:
    """Keep a device from being opened, unless the container has it in another way, too."""
    devices = container.domain.devices
    rest = Domain()
    rest.after_read()
    rest.devices.disks = [one for one in devices.disks if one is not device]
    rest.devices.hostdevs = [one for one in devices.hostdevs if one is not device]
    had = {f"c {one}" for one in DEVICES}
    for source, _ in planned_nodes(rest):
        with contextlib.suppress(VirError):  # it has left the host
            had.add(f"{_kind(source)} {device_number(source)}")
    if number not in had:
        await _allow(container, f"{number} rwm", allowed=False)


async def detach(container: Container, request: DetachDevice) -> None:
    """Take a device from the container.

    Raises:
        ConfError: "device_missing"; "config_unsupported". VirError: the kernel refuses.
    """
    container.require_init()
    if request.alias:
        tag, device = find_alias(container.domain, request.alias)
    else:
        tag, meant = parse_device(request.xml)
        _refuse(tag, meant)
        device = find_device(container.domain, tag, meant)
    _refuse(tag, device)
    async with container.device_lock:
        await _take(container, device)
        remove_device(container.domain, tag, device)
    container.update_xml()


async def _take(container: Container, device: Device) -> None:
    if isinstance(device, Interface):
        await _take_card(container, device)
    elif isinstance(device, Hostdev) and device.type == "net":
        name = device.source.interface or ""
        if not await interfaces.is_here(name):  # else it has not gone into the container
            await host_netdevs.take_back(container, name)
    else:
        source, target = _node_of(device)
        await device_nodes.take(container, target)
        if await asyncio.to_thread(os.path.exists, source):  # else it has left the host
            await _forbid(container, device, f"{_kind(source)} {device_number(source)}")


async def _take_card(container: Container, device: Interface) -> None:
    """Take a card away; one that has not been made, or has not gone in, is no error.

    With the last one go all that netd has: also what it made for a worker that had died meanwhile.
    """
    link = device.target_dev or ""
    if link and device.type == "direct" and not await interfaces.is_here(link):
        name = device.guest_actual or ""
        await interfaces.run_inside(container.init_pid, [interfaces.IP, "link", "del", "dev", name])
    others = any(one is not device for one in container.domain.devices.interfaces)
    if link or not others:
        await detach_port(container.context, container.status.uuid, link if others else "")


async def update(container: Container, request: UpdateDevice) -> None:
    """Change a card.

    Raises:
        ConfError: "device_missing"; "operation_unsupported" for what cannot change now.
    """
    container.require_init()
    tag, changed = parse_device(request.xml)
    if not isinstance(changed, Interface):
        detail = f"live update of device '{tag}' is not supported: a container's cards can change"
        raise ConfError("operation_unsupported", detail, tag)
    former = find_device(container.domain, tag, changed)
    assert isinstance(former, Interface), "a card was looked for"
    if former.type not in NETD_TYPES:
        raise ConfError("operation_unsupported", f"a card of type '{former.type}' is what it is")
    name = former.guest_actual or ""

    async def set_link(up: bool) -> None:  # noqa: FBT001
        words = ["link", "set", "dev", name, "up" if up else "down"]
        await interfaces.run_inside(container.init_pid, [interfaces.IP, *words])

    await update_interface(container, former, changed, set_link)
    container.update_xml()
