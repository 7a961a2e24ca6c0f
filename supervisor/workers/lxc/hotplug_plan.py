"""Plans a hotplug: a device completed and named for a running container. Pure.

Owns: that the live domain stays as it is but for the device: what the start has assigned is the
container's.
"""

from __future__ import annotations

import os
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.device_list import add_device
from conf.domain.device_xml import KINDS, Device, devices_of, set_devices
from conf.domain.devices.address import by_user
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_order import insert_disk
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.interface import Interface
from conf.domain.lxc.defaults import complete_container
from conf.domain.lxc.startable import check_startable_devices
from conf.domain.validate.parsed_domain import check_parsed
from conf.errors import ConfError

#: What the aliases of devices begin with.
STEMS: Final = {Interface: "net", Hostdev: "hostdev"}


def complete_device(live: Domain, tag: str, device: Device) -> None:
    """Complete a device that is to be attached, in a copy of the live domain.

    Completing has its say about the whole domain (ports, numbers): only the device is kept of it.

    Raises:
        ConfError: the container cannot have it.
    """
    copy = parse_domain(format_domain(live, live=True, secure=True))
    add_device(copy, tag, device)
    check_parsed(copy)
    complete_container(copy, (live.os.type.arch if live.os.type else None) or os.uname().machine)
    check_startable_devices(copy.devices)
    _assign_alias(live, device)


def insert_device(live: Domain, tag: str, device: Device) -> None:
    """Add a completed device to the live domain."""
    if isinstance(device, Disk):
        insert_disk(live.devices.disks, device)
    else:
        set_devices(live.devices, tag, [*devices_of(live.devices, tag), device])


def drop_device(live: Domain, tag: str, device: Device) -> None:
    """Take a device out of the live domain again, if it is there."""
    rest = [other for other in devices_of(live.devices, tag) if other is not device]
    set_devices(live.devices, tag, rest)


def _assign_alias(live: Domain, device: Device) -> None:
    """Give the device the first alias of its kind that is free; a user's own stays.

    Raises:
        ConfError: "operation_invalid": another device has the user's alias.
    """
    if not isinstance(device, (Interface, Hostdev)):
        return
    devices = [other for kind in KINDS for other in devices_of(live.devices, kind)]
    taken = {getattr(other, "alias", None) for other in devices}
    if device.alias is not None and by_user(device.alias):
        if device.alias in taken:
            raise ConfError("operation_invalid", f"alias '{device.alias}' is another device's")
        return
    names = (f"{STEMS[type(device)]}{number}" for number in range(len(devices) + 1))
    device.alias = next(name for name in names if name not in taken)
