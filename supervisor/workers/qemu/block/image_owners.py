"""Gives the images of one disk to QEMU's user on hotplug, and back on unplug.

Owns: the list of previous owners in the status XML. May touch: owner and group of images.
"""

from __future__ import annotations

from conf.domain.devices.disk import Disk
from supervisor.objects.domain_status_xml import Owner
from supervisor.runtime.emulator_user import emulator_user
from supervisor.workers.file_owners import chown_for_guest, restore
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.start import live_xml
from supervisor.workers.qemu.start.files import disk_files, domain_files


def chown_images(guest: Guest, disk: Disk) -> list[Owner]:
    """Give a disk's images to QEMU's user, as dynamic_ownership and <seclabel> allow.

    Returns:
        The previous owners, which are in the status XML from now on.

    Raises:
        VirError: SYSTEM_ERROR naming the file; the others are given back.
    """
    config = guest.context.config
    user = emulator_user(config, live_xml.static_dac_label(guest.domain))
    if not config.dynamic_ownership or not live_xml.allows_relabel(guest.domain) or user.is_own:
        return []
    owners = chown_for_guest(disk_files(disk), user)
    guest.status.owners = [*guest.status.owners, *owners]
    guest.save()
    return owners


def restore_image_owners(guest: Guest, disk: Disk) -> None:
    """Give the images of a disk that was removed back, but for those that other disks use."""
    in_use = {file.path for file in domain_files(guest.domain)}
    unused = {file.path for file in disk_files(disk)} - in_use
    restore(owner for owner in guest.status.owners if owner.path in unused)
    guest.status.owners = [owner for owner in guest.status.owners if owner.path not in unused]
    guest.save()
