"""Plans a hotplug: the domain with one more device, completed, with address and alias. Pure.

Owns: that the other devices stay as they are: their addresses and aliases are the guest's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.defaults import complete
from conf.domain.device_list import add_device
from conf.domain.device_xml import KINDS, Device, devices_of, set_devices
from conf.domain.devices import Devices
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.chardev_defaults import copy_of
from conf.domain.devices.controller import Controller
from conf.domain.devices.controller_order import insert_controller
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_defaults import complete_live_cache
from conf.domain.devices.disk_order import insert_disk
from conf.domain.validate.parsed_domain import check_parsed
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from supervisor.workers.qemu.aliases import USER_PREFIX, assign_aliases
from supervisor.workers.qemu.hotplug.qmp_steps import CONTROLLERS, check_attachable
from supervisor.workers.qemu.start.unsupported import check_supported


@dataclass(slots=True)
class HotplugPlan:
    """A device that is to be attached, in a copy of the live domain that is completed with it."""

    domain: Domain
    facts: EmulatorFacts
    tag: str
    device: Device
    controllers: list[Controller]  # new ones that the device needs

    def merge_into(self, live: Domain) -> None:
        """Add the device and its controllers to the live domain, and nothing else of the plan.

        Completing has reset in the copy what the start assigned (ports, ttys), and the live
        domain has changed since it was copied: QEMU's events come while it adds the device.
        """
        devices = live.devices
        for controller in self.controllers:
            insert_controller(devices.controllers, controller)
        match self.device:
            case Disk():
                insert_disk(devices.disks, self.device)
            case Controller():
                insert_controller(devices.controllers, self.device)
            case _:
                set_devices(devices, self.tag, [*devices_of(devices, self.tag), self.device])
        if self.tag == "serial" and len(devices.serials) == 1 and not devices.consoles:
            # libvirt shows the first serial port as the first console, too.
            assert isinstance(self.device, CharDevice), "a serial port"
            devices.consoles.append(replace(copy_of(self.device), alias=self.device.alias))


def plan_attach(live: Domain, tag: str, device: Device, facts: EmulatorFacts) -> HotplugPlan:
    """Add a device to a copy of the live XML.

    Raises:
        ConfError: the domain cannot have it; "internal": no PCI slot is free.
    """
    domain = parse_domain(format_domain(live, live=True, secure=True))
    hubs = len(domain.devices.hubs)
    existing = {id(controller) for controller in domain.devices.controllers}
    add_device(domain, tag, device)
    check_parsed(domain)
    complete(domain, facts)
    check_attachable(domain, device)
    check_supported(domain, live)
    if isinstance(device, Disk):
        complete_live_cache(device)
    new = [
        controller
        for controller in domain.devices.controllers
        if id(controller) not in existing and controller is not device
    ]
    # libvirt hotplugs no PCI controller either: the guest would have to rescan its buses.
    missing = next((each.type for each in new if each.type not in CONTROLLERS), "")
    if missing:
        what = missing.upper() if missing in ("pci", "usb") else missing
        hint = "shut the guest down to get another bus"
        raise ConfError("internal", f"No more available {what} slots: {hint}")
    for added in (*new, device):
        assign_alias(domain, added)
    if len(domain.devices.hubs) > hubs:
        # Completing a definition adds hubs; libvirt adds none to a running guest.
        raise ConfError("internal", "No free USB ports")
    return HotplugPlan(domain, facts, tag, device, new)


def assign_alias(domain: Domain, device: Device) -> None:
    """Assign the alias that the device would have at a start, or the next free number.

    Raises:
        ConfError: "operation_invalid": another device has the user's alias.
    """
    taken = {
        other.alias
        for kind in KINDS
        for other in devices_of(domain.devices, kind)
        if other is not device and hasattr(other, "alias") and other.alias
    }
    if device.alias and device.alias.startswith(USER_PREFIX):  # type: ignore[union-attr]
        if device.alias in taken:  # type: ignore[union-attr]
            raise ConfError("operation_invalid", f"alias '{device.alias}' is another device's")  # type: ignore[union-attr]
        return
    alias = coldplug_alias(domain, device)
    stem = re.sub(r"\d+$", "", alias)
    if alias in taken and not isinstance(device, (Disk, Controller)):
        numbers = [int(other[len(stem) :]) for other in taken if _has_number(other, stem)]
        alias = f"{stem}{max(numbers, default=-1) + 1}"
    device.alias = alias  # type: ignore[union-attr]


def coldplug_alias(domain: Domain, device: Device) -> str:
    """Return the alias that a start would assign; the other devices keep theirs."""
    before = [
        (other, other.alias) for other in _all_devices(domain.devices) if hasattr(other, "alias")
    ]
    try:
        assign_aliases(domain)
        return device.alias or ""  # type: ignore[union-attr]
    finally:
        for other, alias in before:
            other.alias = alias


def _all_devices(devices: Devices) -> Iterator[Any]:
    """List every device of the domain."""
    for field in fields(devices):
        value = getattr(devices, field.name)
        yield from value if isinstance(value, list) else (value,)


def _has_number(alias: str, stem: str) -> bool:
    return alias.startswith(stem) and alias[len(stem) :].isdigit()
