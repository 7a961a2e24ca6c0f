"""Hotplug of a container: attach, detach and update a device while it runs.

Owns: which devices a running container takes, and undoing a failed call. May touch: the container's
/dev, its cgroup by lxc-cgroup, its network namespace; netd over the bus.
Source: libvirt 9.0's lxc driver: block disks, interfaces and <hostdev>.

The live XML names a device before the container gets it. If this worker dies in between, the device
can be detached, and is released when the container stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.device_list import find_by_alias, find_device, remove_device
from conf.domain.device_xml import Device, parse_device
from conf.domain.devices.disk import Disk
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.interface import Interface
from conf.domain.lxc.values import check_hostdev_names
from conf.errors import ConfError
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker import DetachDevice, UpdateDevice
from supervisor.objects import device_lock
from supervisor.workers import usb_devices
from supervisor.workers.interface_updates import update_interface
from supervisor.workers.interfaces import NETD_TYPES, detach_port
from supervisor.workers.lxc import device_nodes, host_netdevs, interfaces
from supervisor.workers.lxc.checks import device_number
from supervisor.workers.lxc.config import LxcInterface
from supervisor.workers.lxc.config.mounts import node_paths as planned_nodes
from supervisor.workers.lxc.config.privileges import DEVICES
from supervisor.workers.lxc.container import Container, read_resources
from supervisor.workers.lxc.hotplug_plan import complete_device, drop_device, insert_device
from supervisor.workers.lxc.liblxc import NAME
from supervisor.workers.lxc.proc_status import is_host_namespace

LXC_CGROUP: Final = "/usr/bin/lxc-cgroup"

log = logging.getLogger(__name__)


async def attach(container: Container, xml: str) -> None:
    """Attach a device; a failed call is undone.

    Raises:
        ConfError: a container cannot have it. VirError: netd or the kernel refuses.
    """
    container.require_init()
    tag, device = parse_device(xml)
    _check_type(tag, device)
    if isinstance(device, Hostdev) and device.mode == "subsystem":
        check_hostdev_names(device)
        usb_devices.set_address(device, await usb_devices.list_devices())
    complete_device(container.domain, tag, device)
    async with AsyncExitStack() as undo:
        undo.callback(_drop, container, tag, device)
        taken = [device] if isinstance(device, Hostdev) else []
        async with device_lock.exclusive(container.context.paths, container.name, taken):
            insert_device(container.domain, tag, device)
            container.update_xml()
        await _add(container, device, undo)
        undo.pop_all()
    container.update_xml()


def _drop(container: Container, tag: str, device: Device) -> None:
    drop_device(container.domain, tag, device)
    container.update_xml()


def _check_type(tag: str, device: Device) -> None:
    """Refuse a type of device that a running container does not take.

    Raises:
        ConfError: "config_unsupported".
    """
    if not isinstance(device, (Disk, Interface, Hostdev)):
        detail = f"Device type '{tag}' cannot be attached to or detached from a running container"
        raise ConfError("config_unsupported", detail, tag)


async def _add(container: Container, device: Device, undo: AsyncExitStack) -> None:
    if isinstance(device, Interface) or (isinstance(device, Hostdev) and device.type == "net"):
        _require_private_netns(container)
    if isinstance(device, Interface):
        await _add_interface(container, device, undo)
    elif isinstance(device, Hostdev) and device.type == "net":
        name = device.source.interface or ""
        await host_netdevs.pin_netns(container)
        await _move_to_container(container, LxcInterface(name, name), device, undo)
        resources = read_resources(container.folder, container.group)
        await host_netdevs.record_devices(container.folder, resources, container.init_pid, [name])
    else:
        await _add_node(container, device, undo)


def _require_private_netns(container: Container) -> None:
    """Refuse to change the network of a container that shares the host's namespace.

    Raises:
        VirError: OPERATION_UNSUPPORTED.
    """
    try:
        is_shared = is_host_namespace(container.init_pid, "net")
    except OSError:
        return  # init exits: the call fails later
    if is_shared:
        detail = (
            f"the container '{container.name}' shares the host's network: give "
            "its definition <features><privnet/></features> or an <interface>, and restart it"
        )
        raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.LXC)


async def _add_interface(container: Container, device: Interface, undo: AsyncExitStack) -> None:
    devices = container.domain.devices
    index = next(n for n, other in enumerate(devices.interfaces) if other is device)
    netdev = await interfaces.attach_interface(container.context, container.domain, device, index)
    live = devices.interfaces[index]
    live.alias = device.alias
    undo.callback(_drop, container, "interface", live)
    host_device = live.target_dev or ""
    undo.push_async_callback(detach_port, container.context, container.status.uuid, host_device)
    container.update_xml()
    await _move_to_container(container, netdev, live, undo)


async def _move_to_container(
    container: Container, netdev: LxcInterface, device: Interface | Hostdev, undo: AsyncExitStack
) -> None:
    """Move a network device into the container's namespace, and set its addresses and routes."""
    pid = container.init_pid
    move = [
        interfaces.IP,
        "link",
        "set",
        "dev",
        netdev.link,
        "netns",
        str(pid),
        "name",
        netdev.name,
    ]
    await interfaces.run_command(move)
    undo.push_async_callback(_move_to_host, container, netdev)
    up = not isinstance(device, Interface) or device.link_state != "down"
    for command in interfaces.configure_commands(netdev, device.ips, device.routes, up=up):
        await interfaces.nsenter(pid, command)


async def _move_to_host(container: Container, netdev: LxcInterface) -> None:
    """Move a network device back to the host, under its former name there."""
    arguments = ["link", "set", "dev", netdev.name, "netns", str(os.getpid()), "name", netdev.link]
    await interfaces.nsenter(container.init_pid, [interfaces.IP, *arguments])


async def _add_node(container: Container, device: Device, undo: AsyncExitStack) -> None:
    """Make a device's node in the container, and allow it in the device cgroup."""
    source, target = _node_paths(device)
    number, kind = device_number(source), _node_type(source)
    rule = f"{kind} {number} {'r' if isinstance(device, Disk) and device.readonly else 'rw'}"
    await _set_device_rule(container, rule, allowed=True)
    undo.push_async_callback(_deny_device, container, device, f"{kind} {number}")
    resources = read_resources(container.folder, container.group)
    await device_nodes.add(container, source, target, resources)


def _node_paths(device: Device) -> tuple[str, str]:
    """Return the paths of a device's node on the host and in the container."""
    domain = Domain()
    domain.after_read()
    if isinstance(device, Disk):
        domain.devices.disks.append(device)
    elif isinstance(device, Hostdev):
        domain.devices.hostdevs.append(device)
    paths = next(planned_nodes(domain), None)
    if paths is None:
        raise ConfError("no_source", "the device has no source on the host", "devices")
    return paths


def _node_type(source: str) -> str:
    return "b" if Path(source).is_block_device() else "c"


async def _set_device_rule(container: Container, rule: str, *, allowed: bool) -> None:
    """Add a rule to the container's device cgroup."""
    file = "devices.allow" if allowed else "devices.deny"
    folder = str(container.folder)
    await interfaces.run_command([LXC_CGROUP, "-n", NAME, "-P", folder, file, rule])


async def _deny_device(container: Container, device: Device, number: str) -> None:
    """Deny a device in the device cgroup, unless another device of the XML has its number."""
    devices = container.domain.devices
    rest = Domain()
    rest.after_read()
    rest.devices.disks = [disk for disk in devices.disks if disk is not device]
    rest.devices.hostdevs = [hostdev for hostdev in devices.hostdevs if hostdev is not device]
    allowed = {f"c {node}" for node in DEVICES}
    for source, _ in planned_nodes(rest):
        with contextlib.suppress(VirError):  # unplugged from the host
            allowed.add(f"{_node_type(source)} {device_number(source)}")
    if number not in allowed:
        await _set_device_rule(container, f"{number} rwm", allowed=False)


async def detach(container: Container, request: DetachDevice) -> None:
    """Detach a device.

    Raises:
        ConfError: "device_missing"; "config_unsupported". VirError: the kernel refuses.
    """
    container.require_init()
    if request.alias:
        tag, device = find_by_alias(container.domain, request.alias)
    else:
        tag, requested = parse_device(request.xml)
        _check_type(tag, requested)
        device = find_device(container.domain, tag, requested)
    _check_type(tag, device)
    async with container.device_lock:
        await _remove(container, device)
        remove_device(container.domain, tag, device)
    container.update_xml()


async def _remove(container: Container, device: Device) -> None:
    if isinstance(device, Interface):
        await _remove_interface(container, device)
    elif isinstance(device, Hostdev) and device.type == "net":
        name = device.source.interface or ""
        if not await interfaces.exists(name):  # else it was never moved into the container
            await host_netdevs.return_device(container, name)
    else:
        source, target = _node_paths(device)
        await device_nodes.remove(container, target)
        if await asyncio.to_thread(os.path.exists, source):  # else it was unplugged from the host
            await _deny_device(container, device, f"{_node_type(source)} {device_number(source)}")


async def _remove_interface(container: Container, device: Interface) -> None:
    """Detach an interface; one that was not made, or not moved into the container, is no error.

    With the last one every port of the domain is detached, also those of a worker that died.
    """
    link = device.target_dev or ""
    if link and device.type == "direct" and not await interfaces.exists(link):
        name = device.guest_actual or ""
        await interfaces.nsenter(container.init_pid, [interfaces.IP, "link", "del", "dev", name])
    others = any(other is not device for other in container.domain.devices.interfaces)
    if link or not others:
        await detach_port(container.context, container.status.uuid, link if others else "")


async def update(container: Container, request: UpdateDevice) -> None:
    """Update an interface.

    Raises:
        ConfError: "device_missing"; "operation_unsupported" for an attribute that cannot change.
    """
    container.require_init()
    tag, changed = parse_device(request.xml)
    if not isinstance(changed, Interface):
        detail = (
            f"live update of device '{tag}' is not supported: of a container, interfaces can change"
        )
        raise ConfError("operation_unsupported", detail, tag)
    previous = find_device(container.domain, tag, changed)
    assert isinstance(previous, Interface), "find_device returns the type it is given"
    if previous.type not in NETD_TYPES:
        raise ConfError(
            "operation_unsupported", f"an interface of type '{previous.type}' cannot be updated"
        )
    name = previous.guest_actual or ""

    async def set_link(up: bool) -> None:  # noqa: FBT001
        arguments = ["link", "set", "dev", name, "up" if up else "down"]
        await interfaces.nsenter(container.init_pid, [interfaces.IP, *arguments])

    await update_interface(container, previous, changed, set_link)
    container.update_xml()
