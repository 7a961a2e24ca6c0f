"""Checks of device updates: what cannot change while the guest runs is refused. Pure.

Owns: which fields can change. May touch: nothing; devices are read.
Source: libvirt 9.0, measured: qemuDomainChangeNet, qemuDomainChangeGraphics,
qemuDomainDiskChangeSupported.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Final

from conf.domain.devices.disk import Disk, DiskDriver
from conf.domain.devices.graphics import Graphics, Listen
from conf.domain.devices.graphics_defaults import complete_graphics
from conf.domain.devices.interface import Interface, InterfaceDriver
from conf.errors import ConfError
from conf.settings import QemuConfig
from supervisor.workers.interfaces import NETD_TYPES

UNSUPPORTED: Final = "operation_unsupported"
#: Fields of an interface behind a tap of netd's that can change.
NETD_CHANGES: Final = ("bandwidth", "source", "filterref", "virtualport", "vlan")
#: What libvirt calls a field of an interface that cannot change.
INTERFACE_FIELDS: Final = {
    "boot_order": "network device boot index setting",
    "rom": "network device rom setting",
    "target_dev": "network device tap name",
    "script": "network device script attribute",
    "mtu": "MTU",
    "address": "network device guest PCI address",
}
#: The parts of a disk that are its medium.
MEDIUM: Final = ("type", "source", "driver", "backing_store")
GRAPHICS_CHANGES: Final = ("passwd", "passwd_valid_to", "connected")
GRAPHICS_ASSIGNED: Final = ("listen", "listens", "port", "tls_port", "autoport", "socket")


def check_interface_change(current: Interface, changed: Interface) -> None:
    """Refuse a change of an interface that QEMU and netd cannot make.

    Args:
        current: of the live XML.
        changed: of the client's XML, completed.

    Raises:
        ConfError: "operation_unsupported"; "operation_denied" for its ACPI index.
    """
    virtio = (current.model or "").startswith("virtio")
    drivers = (current.driver or InterfaceDriver(), changed.driver or InterfaceDriver())
    if changed.type != current.type:
        detail = f"unable to change config on '{changed.type}' network type"
        raise ConfError(UNSUPPORTED, detail)
    if virtio and drivers[0] != drivers[1]:
        raise ConfError(UNSUPPORTED, "cannot modify virtio network device driver attributes")
    if (changed.mac or "").lower() != (current.mac or "").lower():
        detail = f"cannot change network interface mac address from {current.mac} to {changed.mac}"
        raise ConfError(UNSUPPORTED, detail)
    if changed.model != current.model:
        detail = f"cannot modify network device model from {current.model} to {changed.model}"
        raise ConfError(UNSUPPORTED, detail)
    if changed.acpi_index not in (None, current.acpi_index):
        detail = "changing device 'acpi index' is not allowed"
        raise ConfError("operation_denied", detail)
    changeable = {"link_state", "mac_element", "driver"}
    if current.type in NETD_TYPES:
        changeable.update(NETD_CHANGES)
    for field in _changed_fields(current, changed):
        if field not in changeable:
            name = INTERFACE_FIELDS.get(field, f"{field.replace('_', ' ')} of the network device")
            raise ConfError(UNSUPPORTED, f"cannot modify {name}")


def check_disk_change(current: Disk, changed: Disk) -> bool:
    """Refuse a change of a disk other than of a drive's medium.

    Returns:
        Whether the medium is to be changed.

    Raises:
        ConfError: "operation_unsupported"; "operation_denied" for its alias; "config_unsupported"
            for the source of a disk that is no drive.
    """
    if changed.alias not in (None, current.alias):
        raise ConfError("operation_denied", "changing device alias is not allowed")
    if changed.target.bus not in (None, current.target.bus):
        raise ConfError(UNSUPPORTED, "cannot modify field 'bus' of the disk")
    drivers = (current.driver or DiskDriver(), changed.driver or DiskDriver())
    fixed = [name for name in _changed_fields(*drivers) if name not in ("name", "type")]
    kept = ("target", "readonly") if changed.device in ("cdrom", "floppy") else ("target",)
    fixed += [name for name in _changed_fields(current, changed) if name not in (*MEDIUM, *kept)]
    if fixed:
        raise ConfError(UNSUPPORTED, f"cannot modify field '{fixed[0]}' of the disk")
    if current.device in ("cdrom", "floppy"):
        return True
    if _medium(current) != _medium(changed):
        detail = "disk source can be changed only in removable drives"
        raise ConfError("config_unsupported", detail)
    return False


def _medium(disk: Disk) -> tuple[object, ...]:
    source = disk.source
    if source is None:
        return (disk.type,)
    return (disk.type, source.file, source.dev, source.name, source.pool, source.volume)


def check_graphics_change(current: Graphics, changed: Graphics, config: QemuConfig) -> None:
    """Refuse a change of a display other than of its password.

    Raises:
        ConfError: "operation_unsupported".
    """
    kind = current.type
    completed = replace(changed, listens=[replace(listen) for listen in changed.listens])
    complete_graphics(completed)
    default = config.spice_listen if kind == "spice" else config.vnc_listen
    addresses = [_address(listen, default) for listen in completed.listens]
    if addresses != [_address(listen, default) for listen in current.listens]:
        detail = f"cannot change listen address setting on '{kind}' graphics"
        raise ConfError(UNSUPPORTED, detail)
    fixed_port = not completed.autoport and completed.port not in (None, -1)
    if fixed_port and completed.port != current.port:
        raise ConfError(UNSUPPORTED, f"cannot change port settings on {kind} graphics")
    if changed.keymap != current.keymap:
        raise ConfError(UNSUPPORTED, f"cannot change keymap setting on {kind} graphics")
    if completed.websocket == -1:
        completed.websocket = None  # any that the start has chosen
    for field in _changed_fields(current, completed):
        if field not in (*GRAPHICS_CHANGES, *GRAPHICS_ASSIGNED):
            name = field.replace("_", " ")
            raise ConfError(UNSUPPORTED, f"cannot change {name} setting on {kind} graphics")


def _address(listen: Listen, default: str) -> tuple[str, str | None]:
    if listen.type == "address":
        return listen.type, listen.address or default
    return listen.type, listen.network


def _changed_fields(current: object, changed: object) -> list[str]:
    """List the fields that a client's XML gives other values than the live XML has."""
    return [
        field.name
        for field in fields(changed)  # type: ignore[arg-type]
        if (value := getattr(changed, field.name)) not in (None, [])
        and value != getattr(current, field.name)
    ]
