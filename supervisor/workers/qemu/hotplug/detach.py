"""Detaches a device from a running domain.

Owns: removing the backend after DEVICE_DELETED, however late that comes.
May touch: QEMU, by QMP; netd, by `interfaces`; owners of images.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec

from conf.domain.device_list import find_by_alias, find_device
from conf.domain.device_xml import Device, devices_of, parse_device, set_devices
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.controller import Controller
from conf.domain.devices.disk import Disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.interface import Interface
from conf.domain.devices.memory import MemoryDevice
from conf.domain.devices.redirdev import Redirdev
from conf.domain.devices.rng import Rng
from conf.domain.devices.shmem import Shmem
from conf.domain.memory_modules import align_module
from conf.errors import ConfError
from rpc.enums import DomainEventID
from rpc.errors import VirError
from supervisor.messages.worker import DetachDevice
from supervisor.workers.interfaces import NETD_TYPES, detach_port
from supervisor.workers.qemu.block.live_disks import check_no_job
from supervisor.workers.qemu.block.nodes import PREFIX
from supervisor.workers.qemu.block.passed_images import remove_disk
from supervisor.workers.qemu.external.processes import end_process
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.attach import block_node_names
from supervisor.workers.qemu.hotplug.file_owners import restore_file_owners
from supervisor.workers.qemu.hotplug.output_fds import remove_outputs
from supervisor.workers.qemu.hotplug.qmp_steps import describe_device, is_hotpluggable
from supervisor.workers.qemu.hotplug.unplug import note_answer, unplug
from supervisor.workers.qemu.listening_sockets import remove_sockets
from supervisor.workers.qemu.memory_devices import remove_backend
from supervisor.workers.qemu.outputs import output_source
from supervisor.workers.qemu.passthrough import give_back, managed_addresses

log = logging.getLogger(__name__)


class Drive(msgspec.Struct, frozen=True, rename="kebab"):
    """One drive of `query-blockstats`, with all that is below it."""

    node_name: str = ""
    parent: Drive | None = None
    backing: Drive | None = None


async def detach(guest: Guest, request: DetachDevice) -> None:
    """Ask the guest to release a device, and wait for it if the client gave its XML.

    Raises:
        ConfError: "device_missing"; "operation_unsupported": it cannot be detached live.
        VirError: QEMU refuses; OPERATION_FAILED: the guest does.
    """
    if request.alias:
        _, device = find_by_alias(guest.domain, request.alias)
    else:
        tag, requested = parse_device(request.xml)
        if isinstance(requested, MemoryDevice):
            align_module(requested)
        device = find_device(guest.domain, tag, requested)
    _check_detachable(guest, device)
    name = device.alias or ""  # type: ignore[union-attr]
    # As with libvirt, the call succeeds without the guest's answer; by alias it never waits for it.
    await unplug(guest, name, 0.0 if request.alias else None)


def _check_detachable(guest: Guest, device: Device) -> None:
    """Refuse a device that cannot be detached live.

    Raises:
        ConfError: "operation_unsupported"; "operation_failed" for a controller in use.
        VirError: a disk has a block job.
    """
    match device:
        case Controller() if device.type != "scsi":
            possible = False
        case Controller() if any(True for _ in disks_on(guest, device)):
            raise ConfError("operation_failed", "device cannot be detached: device is busy")
        case Hostdev():
            possible = is_hotpluggable(guest.domain, device) and not device.source.missing
        case _:
            possible = is_hotpluggable(guest.domain, device)
    if not possible:
        detail = f"{describe_device(device)} cannot be detached live"
        raise ConfError("operation_unsupported", detail)
    if isinstance(device, Disk):
        check_no_job(guest.status, device)


def disks_on(guest: Guest, controller: Controller) -> Iterator[Disk | Hostdev]:
    """List the disks on a controller, and host devices that are its units."""
    for hostdev in guest.domain.devices.hostdevs:
        scsi = hostdev.type == controller.type == "scsi"
        if scsi and getattr(hostdev.address, "controller", None) == controller.index:
            yield hostdev
    for disk in guest.domain.devices.disks:
        index = getattr(disk.address, "controller", None)
        if disk.target.bus == controller.type and index == controller.index:
            yield disk


def on_device_deleted(guest: Guest, alias: str) -> None:
    """Handle DEVICE_DELETED."""
    guest.run(complete(guest, alias))


async def complete(guest: Guest, alias: str) -> None:
    """Remove a deleted device's backend and XML, and publish DEVICE_REMOVED."""
    try:
        tag, device = find_by_alias(guest.domain, alias)
    except ConfError:
        return  # a part of a device, or one that the XML never had
    async with guest.device_lock:
        remaining = [
            other for other in devices_of(guest.domain.devices, tag) if other is not device
        ]
        set_devices(guest.domain.devices, tag, remaining)
        try:
            await _remove_backend(guest, device)
        except VirError as error:
            log.warning("%s: the backend of %s cannot be removed: %s", guest.name, alias, error)
        if isinstance(device, Hostdev):
            await give_back(managed_addresses([device]), guest.status, guest.save)
        guest.update_and_publish()
    log.info("%s: device %s detached", guest.name, alias)
    guest.publish_event(DomainEventID.DEVICE_REMOVED, guest.identity, alias)
    note_answer(guest, alias, released=True)


async def _remove_backend(guest: Guest, device: Device) -> None:
    match device:
        case Interface():
            await guest.monitor.execute("netdev_del", {"id": f"host{device.alias}"})
            if device.type in NETD_TYPES:
                tap = device.target_dev or ""
                await detach_port(guest.context, guest.status.uuid, tap)
        case MemoryDevice():
            await remove_backend(guest, device)
        case Rng():
            await _remove_rng(guest, device)
        case Filesystem():
            await end_process(guest.status, device.alias or "")
        case CharDevice() | Redirdev():
            await _remove_chardev(guest, device.alias or "")
            remove_sockets([device])
        case Shmem():
            await _remove_shmem(guest, device)
        case Disk() | Hostdev():
            await _remove_nodes(guest, device)
    if chardev := vhost_user_chardev(device):
        await guest.monitor.execute("chardev-remove", {"id": chardev})
    await restore_file_owners(guest, device)


def vhost_user_chardev(device: Device) -> str:
    """Return the name of QEMU's connection to the process that serves a device; "" without one."""
    match device:
        case Interface() if device.type == "vhostuser":
            return f"char{device.alias}"
        case Disk() if device.type == "vhostuser":
            return f"chr-vu-{device.alias}"
        case Filesystem():
            return f"chr-vu-{device.alias}"
    return ""


async def _remove_nodes(guest: Guest, device: Disk | Hostdev) -> None:
    """Remove the block nodes of a disk or of a SCSI unit."""
    if isinstance(device, Disk) and device.type != "vhostuser":
        await collect(guest)
        await remove_disk(guest, device)
    elif isinstance(device, Hostdev) and device.type == "scsi":
        await collect(guest)


async def _remove_shmem(guest: Guest, shmem: Shmem) -> None:
    if shmem.model == "ivshmem-plain":
        await guest.monitor.execute("object-del", {"id": f"shmmem-{shmem.alias}"})
    else:
        await guest.monitor.execute("chardev-remove", {"id": f"char{shmem.alias}"})


async def _remove_rng(guest: Guest, rng: Rng) -> None:
    await guest.monitor.execute("object-del", {"id": f"obj{rng.alias}"})
    if output_source(rng) is not None:
        await _remove_chardev(guest, rng.alias or "")


async def _remove_chardev(guest: Guest, alias: str) -> None:
    await guest.monitor.execute("chardev-remove", {"id": f"char{alias}"})
    await remove_outputs(guest, alias)


async def collect(guest: Guest) -> None:
    """Delete the block nodes that no drive uses: of this disk, or of a hotplug that failed.

    Raises:
        VirError: QEMU does not reply.
    """
    used = await used_nodes(guest)
    idle = {name for name in await block_node_names(guest) if name.startswith(PREFIX)} - used
    for name in sorted(idle):  # libvirt-N-format sorts before N-storage, which it uses
        try:
            await guest.monitor.execute("blockdev-del", {"node-name": name})
        except VirError as error:
            log.debug("%s: block node %s is not deleted: %s", guest.name, name, error)


async def used_nodes(guest: Guest) -> set[str]:
    """Return the names of the block nodes that drives use."""
    drives = await guest.monitor.query("query-blockstats", list[Drive])
    return {name for drive in drives for name in chain_names(drive)}


def chain_names(drive: Drive | None) -> Iterator[str]:
    """List the names of a drive's nodes, from the top down."""
    if drive is not None:
        if drive.node_name:
            yield drive.node_name
        yield from chain_names(drive.parent)
        yield from chain_names(drive.backing)
