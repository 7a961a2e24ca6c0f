"""Gives the files of one device to QEMU's user on hotplug, and back on unplug.

Owns: the list of previous owners in the status XML. May touch: their owner and group.
"""

from __future__ import annotations

from conf.domain.device_xml import Device
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.disk import Disk
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.memory import MemoryDevice
from supervisor.objects.domain_status_xml import Owner
from supervisor.runtime.emulator_user import emulator_user
from supervisor.workers.file_owners import ChownedFile, chown_for_guest, restore
from supervisor.workers.qemu.cgroup import devices
from supervisor.workers.qemu.guest import Guest
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


async def chown_files(guest: Guest, device: Device) -> list[Owner]:
    """Let QEMU open a device's files: as its user, as dynamic_ownership and <seclabel> allow.

    Host devices are let through the filter of its cgroup as well.

    Returns:
        The previous owners, which are in the status XML from now on.

    Raises:
        VirError: SYSTEM_ERROR naming the file; the others are given back.
    """
    paths = (file.path for file in device_files(device))
    devices.permit(guest, [*paths, *devices.opened_paths(device)])
    config = guest.context.config
    user = emulator_user(config, live_xml.static_dac_label(guest.domain))
    if not config.dynamic_ownership or not live_xml.allows_relabel(guest.domain) or user.is_own:
        return []
    owners = await chown_for_guest(device_files(device), user, guest.context.previous_owners)
    new = [owner for owner in owners if owner not in guest.status.owners]
    guest.status.owners = [*guest.status.owners, *new]
    guest.save()
    return new


async def give_back(guest: Guest, owners: list[Owner]) -> None:
    """Give files back that `chown_files` gave to QEMU's user, as the hotplug has failed."""
    await restore(owners, guest.context.previous_owners)
    guest.status.owners = [owner for owner in guest.status.owners if owner not in owners]
    guest.save()


async def restore_file_owners(guest: Guest, device: Device) -> None:
    """Give the files of a device that was removed back, but for those that other devices use."""
    in_use = {file.path for file in domain_files(guest.domain)}
    unused = {file.path for file in device_files(device)} - in_use
    given_back = [owner for owner in guest.status.owners if owner.path in unused]
    await restore(given_back, guest.context.previous_owners)
    guest.status.owners = [owner for owner in guest.status.owners if owner.path not in unused]
    guest.save()
    devices.forbid(guest, [*unused, *devices.opened_paths(device)])
