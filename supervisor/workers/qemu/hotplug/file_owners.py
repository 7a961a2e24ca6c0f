"""Gives the files of one device to QEMU's user on hotplug, and back on unplug.

Owns: the list of previous owners in the status XML. May touch: their owner and group.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from conf.domain.device_xml import Device
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.disk import Disk
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.memory import MemoryDevice
from supervisor.objects.domain_status_xml import Owner
from supervisor.workers.file_owners import ChownedFile, chown_for_guest, restore
from supervisor.workers.qemu.cgroup import devices
from supervisor.workers.qemu.disk_locks.locks import lock_device, unlock, unlock_unused
from supervisor.workers.qemu.disk_locks.resources import LockResource
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.guest_user import guest_user
from supervisor.workers.qemu.namespace.guest_dev import (
    add_nodes,
    outside_dev,
    owned_paths,
    remove_nodes,
)
from supervisor.workers.qemu.start import live_xml
from supervisor.workers.qemu.start.files import (
    character_device_files,
    disk_files,
    domain_files,
    hostdev_files,
    memory_files,
)


def device_files(device: Device) -> list[ChownedFile]:
    """List the files of a device that QEMU opens itself: images, host devices, sockets."""
    match device:
        case Disk():
            return list(disk_files(device))
        case Hostdev():
            return list(hostdev_files(device))
        case MemoryDevice():
            return list(memory_files(device))
        case CharDevice():
            return list(character_device_files(device))
    return []


@dataclass(frozen=True, slots=True)
class GivenFiles:
    """What `chown_files` has done for a device."""

    device: Device
    owners: list[Owner]  # the previous ones
    locked: list[LockResource] = field(default_factory=list)  # by this, not before


def opened_by(device: Device) -> list[str]:
    """List every path that QEMU opens for a device."""
    return [*(file.path for file in device_files(device)), *devices.opened_paths(device)]


async def chown_files(
    guest: Guest, device: Device, *, saves: bool = True, writes: bool = True
) -> GivenFiles:
    """Let QEMU open a device's files: as its user, as dynamic_ownership and <seclabel> allow.

    Host devices are let through the filter of its cgroup as well, and are added to its /dev. The
    image of a disk is locked, where guests lock them (`lock_manager`).

    Args:
        guest: the guest.
        device: whose files they are.
        saves: False: the caller saves the status next.
        writes: QEMU writes to them.

    Returns:
        What `give_back` undoes; the previous owners are in the status XML from now on.

    Raises:
        VirError: SYSTEM_ERROR naming the file, RESOURCE_BUSY; the others are given back.
    """
    locked = await lock_device(guest, device) if writes else []
    try:
        devices.permit(guest, opened_by(device))
        return GivenFiles(device, await _give(guest, device, saves=saves), locked)
    except BaseException:
        await give_back(guest, GivenFiles(device, [], locked))
        raise


async def _give(guest: Guest, device: Device, *, saves: bool) -> list[Owner]:
    paths, files = opened_by(device), device_files(device)
    config = guest.context.config
    user = guest_user(guest)
    managed = config.dynamic_ownership and live_xml.allows_relabel(guest.domain)
    if user.is_own or not managed:
        add_nodes(guest, paths, (), None)
        return []
    add_nodes(guest, paths, owned_paths(files, [device]), user)
    if guest.status.private_dev:
        files = outside_dev(files)
    owners = await chown_for_guest(files, user, guest.context.previous_owners)
    new = [owner for owner in owners if owner not in guest.status.owners]
    guest.status.owners = [*guest.status.owners, *new]
    if saves:
        guest.save()
    return new


async def give_back(guest: Guest, given: GivenFiles) -> None:
    """Give files back that `chown_files` gave to QEMU's user, as the hotplug has failed."""
    await unlock(guest, given.locked)
    await restore(given.owners, guest.context.previous_owners)
    guest.status.owners = [owner for owner in guest.status.owners if owner not in given.owners]
    guest.save()
    remove_nodes(guest, opened_by(given.device))
    devices.forbid(guest, opened_by(given.device))


async def restore_file_owners(guest: Guest, device: Device) -> None:
    """Give the files of a device that was removed back, but for those that other devices use."""
    in_use = {file.path for file in domain_files(guest.domain)}
    unused = {file.path for file in device_files(device)} - in_use
    given_back = [owner for owner in guest.status.owners if owner.path in unused]
    await restore(given_back, guest.context.previous_owners)
    guest.status.owners = [owner for owner in guest.status.owners if owner.path not in unused]
    guest.save()
    remove_nodes(guest, opened_by(device))
    devices.forbid(guest, [*unused, *devices.opened_paths(device)])
    if isinstance(device, Disk):
        await unlock_unused(guest, [device])
