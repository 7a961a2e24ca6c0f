"""Adding, finding, removing and changing single devices of a domain. Pure.

Owns: what counts as the same device, and what may not be added twice.
May touch: the domain it is given, in place; the caller owns it alone.
Source: libvirt 9.0's QEMU driver.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from conf.domain.device_xml import KINDS, Device, devices_of, set_devices
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.controller import Controller
from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_order import insert_disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.graphics import Graphics
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.interface import Interface
from conf.domain.devices.memory import MemoryDevice
from conf.domain.memory_modules import check_new_module, find_module
from conf.domain.model import Domain
from conf.errors import ConfError

#: Elements of which one can be added to a definition by itself.
PERSISTENT: Final = frozenset(
    (
        *("disk", "interface", "sound", "hostdev", "lease", "controller", "serial", "parallel"),
        *("channel", "console", "filesystem", "rng", "memory", "redirdev", "shmem", "watchdog"),
        *("input", "vsock"),
    )
)
#: Values that the daemon assigned do not identify a device.
ASSIGNED: Final = frozenset({"alias"})


def add_device(domain: Domain, tag: str, device: Device) -> None:
    """Add a device.

    Raises:
        ConfError: "operation_invalid": the domain has it, or may have one of its kind alone.
    """
    present = devices_of(domain.devices, tag)
    if KINDS[tag].single and present:
        raise ConfError("operation_invalid", f"domain already has a {tag} device")
    if isinstance(device, Disk) and any(_same_target(device, other) for other in present):
        raise ConfError("operation_invalid", f"target {device.target.dev} already exists.")
    if isinstance(device, Hostdev) and any(_same_hostdev(device, other) for other in present):
        detail = "the host's device is already in the domain configuration"
        raise ConfError("operation_invalid", detail)
    if isinstance(device, Controller) and device.index is not None:
        for other in present:
            if _same_controller(device, other):
                raise ConfError(
                    "operation_invalid", f"controller {device.type}:{device.index} already exists"
                )
    if isinstance(device, Disk):
        insert_disk(domain.devices.disks, device)
    else:
        set_devices(domain.devices, tag, [*present, device])


def check_persistent_attach(domain: Domain, tag: str, device: Device) -> None:
    """Refuse a device that cannot be added to a definition.

    Raises:
        ConfError: "operation_unsupported": its kind cannot; "operation_invalid": the domain has it;
            "config_unsupported": memory without <maxMemory>.
    """
    present = devices_of(domain.devices, tag)
    if tag not in PERSISTENT:
        detail = f"persistent attach of device '{tag}' is not supported"
        raise ConfError("operation_unsupported", detail)
    if tag == "console" and isinstance(device, CharDevice) and _is_serial_console(device):
        raise ConfError("operation_unsupported", "attaching serial console is not supported")
    if tag == "watchdog" and present:
        raise ConfError("operation_invalid", "domain already has a watchdog")
    if isinstance(device, MemoryDevice):
        check_new_module(domain, device)
    if isinstance(device, Filesystem) and device.target_dir in _target_dirs(present):
        raise ConfError("operation_invalid", "Target already exists")
    if isinstance(device, Controller) and _has_controller(present, device):
        detail = f"controller index='{device.index}' already exists"
        raise ConfError("operation_invalid", detail)


def _has_controller(present: list[Device], meant: Controller) -> bool:
    return meant.index is not None and any(_same_controller(meant, other) for other in present)


def _is_serial_console(device: CharDevice) -> bool:
    return device.target_type in (None, "serial")


def _target_dirs(present: list[Device]) -> set[str | None]:
    return {device.target_dir for device in present if isinstance(device, Filesystem)}


def remove_device(domain: Domain, tag: str, meant: Device) -> Device:
    """Remove the device that is meant.

    Raises:
        ConfError: as `find_device`.
    """
    removed = find_device(domain, tag, meant)
    rest = [device for device in devices_of(domain.devices, tag) if device is not removed]
    set_devices(domain.devices, tag, rest)
    return removed


def replace_device(domain: Domain, tag: str, changed: Device) -> Device:
    """Replace the device that the XML identifies; return the previous one.

    Raises:
        ConfError: as `find_device`, but "invalid_arg" for a disk that is not there;
            "operation_unsupported" for a kind that cannot be changed.
    """
    if isinstance(changed, MemoryDevice):
        return _replace_module(domain, changed)
    if not isinstance(changed, (Disk, Interface, Graphics)):
        detail = f"persistent update of device '{tag}' is not supported"
        raise ConfError("operation_unsupported", detail)
    try:
        previous = find_device(domain, tag, changed)
    except ConfError as error:
        if not isinstance(changed, Disk):
            raise
        # libvirt has two codes for a disk that is not there: this one, and that of a detach.
        raise ConfError("invalid_arg", f"target {changed.target.dev} doesn't exist.") from error
    changed.address = changed.address or previous.address  # type: ignore[union-attr]
    devices = devices_of(domain.devices, tag)
    set_devices(
        domain.devices, tag, [changed if device is previous else device for device in devices]
    )
    return previous


def _replace_module(domain: Domain, changed: MemoryDevice) -> Device:
    previous = find_module(domain, changed)
    if previous is None:
        raise ConfError("invalid_arg", "memory not found")
    changed.address = previous.address
    memories = domain.devices.memories
    domain.devices.memories = [changed if each is previous else each for each in memories]
    return previous


def find_device(domain: Domain, tag: str, meant: Device) -> Device:
    """Find the device that a partial definition matches.

    Raises:
        ConfError: "device_missing": there is none; "operation_failed": several interfaces match.
    """
    present = devices_of(domain.devices, tag)
    if isinstance(meant, Interface):
        return _find_interface(present, meant)
    if isinstance(meant, Disk):
        matches = [device for device in present if _same_target(meant, device)]
        missing = f"no target device {meant.target.dev}"
    elif isinstance(meant, Controller):
        matches = [device for device in present if _same_controller(meant, device)]
        missing = f"device {meant.type} controller {meant.index} not found"
    elif isinstance(meant, Graphics):
        matches = [device for device in present if getattr(device, "type", None) == meant.type]
        missing = f"cannot find existing graphics device of type '{meant.type}' to modify"
    elif isinstance(meant, MemoryDevice):
        matches = [device for device in present if matches_given_fields(meant, device)]
        missing = f"model '{meant.model}' memory device not present in the domain configuration"
    else:
        matches = [device for device in present if matches_given_fields(meant, device)]
        missing = f"matching {tag} device not found"
    if not matches:
        raise ConfError("device_missing", missing)
    # libvirt takes the first of equal devices: two <rng> of the same backend, two <redirdev>.
    return matches[0]


def find_by_alias(domain: Domain, alias: str) -> tuple[str, Device]:
    """Find a device and its element's name by its alias.

    Raises:
        ConfError: "device_missing".
    """
    for tag in KINDS:
        for device in devices_of(domain.devices, tag):
            if getattr(device, "alias", None) == alias:
                return tag, device
    raise ConfError("device_missing", f"no device found with alias {alias}")


def _find_interface(present: list[Device], meant: Interface) -> Device:
    """Find an interface by MAC address, PCI address or both; without either, the only one."""
    interfaces = [device for device in present if isinstance(device, Interface)]
    by = "matching network device"
    if meant.mac:
        by = f"device matching MAC address {meant.mac}"
        interfaces = [card for card in interfaces if (card.mac or "").lower() == meant.mac.lower()]
    if meant.address is not None:
        interfaces = [card for card in interfaces if card.address == meant.address]
    if meant.alias is not None:
        interfaces = [card for card in interfaces if card.alias == meant.alias]
    if not interfaces:
        raise ConfError("device_missing", f"no {by} found")
    if len(interfaces) > 1:
        raise ConfError("operation_failed", f"multiple {by} found; say its <address>, too")
    return interfaces[0]


def _same_target(meant: Disk, other: Device) -> bool:
    return isinstance(other, Disk) and other.target.dev == meant.target.dev


def _same_hostdev(meant: Hostdev, other: Device) -> bool:
    if not isinstance(other, Hostdev):
        return False
    return (other.mode, other.type, other.source) == (meant.mode, meant.type, meant.source)


def _same_controller(meant: Controller, other: Device) -> bool:
    if not isinstance(other, Controller):
        return False
    return (other.type, other.index) == (meant.type, meant.index)


def matches_given_fields(meant: object, device: object) -> bool:
    """Check whether a device has every value that the XML gives."""
    if type(meant) is not type(device) or not dataclasses.is_dataclass(meant):
        return meant == device
    default = {field.name: field.default for field in dataclasses.fields(meant)}
    for name in default.keys() - ASSIGNED:
        text = getattr(meant, name)
        if text is None or text == [] or text == default[name]:
            continue
        if not matches_given_fields(text, getattr(device, name)):
            return False
    return True
