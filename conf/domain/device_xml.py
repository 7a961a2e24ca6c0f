"""XML of a single device, and the list of the domain that devices of its kind are in. Pure.

Owns: reading and writing a device that is attached, detached or updated.
Source: libvirt 9.0 virDomainAttachDeviceFlags: the XML is one element of <devices>.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.controller import Controller
from conf.domain.devices.devices import Devices
from conf.domain.devices.disk import Disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.graphics import Graphics
from conf.domain.devices.graphics_defaults import new_mac
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.hub import Hub
from conf.domain.devices.input import Input
from conf.domain.devices.interface import Interface, Mac
from conf.domain.devices.lease import Lease
from conf.domain.devices.memballoon import Memballoon
from conf.domain.devices.memory import MemoryDevice
from conf.domain.devices.panic import Panic
from conf.domain.devices.redirdev import Redirdev
from conf.domain.devices.rng import Rng
from conf.domain.devices.shmem import Shmem
from conf.domain.devices.smartcard import Smartcard
from conf.domain.devices.sound import Sound
from conf.domain.devices.tpm import Tpm
from conf.domain.devices.video import Video
from conf.domain.devices.vsock import Vsock
from conf.domain.devices.watchdog import Watchdog
from conf.errors import ConfError
from conf.mapper import Mode, read, write
from conf.mapper.safe_parse import parse_tree

Device = (
    Disk | Controller | Lease | Filesystem | Interface | Smartcard | CharDevice | Input | Tpm
    | Graphics | Sound | Video | Hostdev | Redirdev | Hub | Watchdog | Memballoon | Rng | Panic
    | Shmem | MemoryDevice | Vsock
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """What one element of <devices> is."""

    model: type
    place: str  # the field of `Devices`
    single: bool = False  # a domain has one at most


KINDS: Final = {
    "disk": DeviceKind(Disk, "disks"),
    "controller": DeviceKind(Controller, "controllers"),
    "lease": DeviceKind(Lease, "leases"),
    "filesystem": DeviceKind(Filesystem, "filesystems"),
    "interface": DeviceKind(Interface, "interfaces"),
    "smartcard": DeviceKind(Smartcard, "smartcards"),
    "serial": DeviceKind(CharDevice, "serials"),
    "parallel": DeviceKind(CharDevice, "parallels"),
    "console": DeviceKind(CharDevice, "consoles"),
    "channel": DeviceKind(CharDevice, "channels"),
    "input": DeviceKind(Input, "inputs"),
    "tpm": DeviceKind(Tpm, "tpms"),
    "graphics": DeviceKind(Graphics, "graphics"),
    "sound": DeviceKind(Sound, "sounds"),
    "video": DeviceKind(Video, "videos"),
    "hostdev": DeviceKind(Hostdev, "hostdevs"),
    "redirdev": DeviceKind(Redirdev, "redirdevs"),
    "hub": DeviceKind(Hub, "hubs"),
    "watchdog": DeviceKind(Watchdog, "watchdogs"),
    "memballoon": DeviceKind(Memballoon, "memballoon", single=True),
    "rng": DeviceKind(Rng, "rngs"),
    "panic": DeviceKind(Panic, "panics"),
    "shmem": DeviceKind(Shmem, "shmems"),
    "memory": DeviceKind(MemoryDevice, "memories"),
    "vsock": DeviceKind(Vsock, "vsock", single=True),
}


def parse_device(xml: str) -> tuple[str, Device]:
    """Read one device: its element's name, and the device.

    Raises:
        ConfError: "config_unsupported": it is no device; whatever the device's own reading refuses.
    """
    root = parse_tree(xml)
    tag = root.tag
    kind = KINDS.get(tag) if isinstance(tag, str) else None
    if kind is None:
        raise ConfError("config_unsupported", f"unknown device type '{tag}'", str(tag))
    device: Device = read(kind.model, root)  # a model may serve several elements
    return str(tag), device


def format_device(device: Device, *, live: bool = False) -> str:
    """Write one device as an element, with passwords; `live` with what only a running guest has."""
    return write(device, Mode(live=live, secure=True))


def with_mac(xml: str) -> str:
    """Give an interface without a MAC address one, so that all who read the document have the same.

    Raises:
        ConfError: as `parse_device`.
    """
    tag, device = parse_device(xml)
    if not isinstance(device, Interface) or device.mac:
        return xml
    device.mac_element = replace(device.mac_element or Mac(), address=new_mac())
    return write(device, Mode(live=True, secure=True), tag=tag)


def devices_of(devices: Devices, tag: str) -> list[Device]:
    """List the devices of a kind; the list is the caller's own."""
    kind = KINDS[tag]
    devices_of_tag = getattr(devices, kind.place)
    if kind.single:
        return [] if devices_of_tag is None else [devices_of_tag]
    return list(devices_of_tag)


def every_device(devices: Devices) -> list[Device]:
    """List all devices, kind after kind."""
    found: list[Device] = []
    for kind in KINDS.values():
        here = getattr(devices, kind.place)
        if here:  # most kinds have none
            found.extend((here,) if kind.single else here)
    return found


def set_devices(devices: Devices, tag: str, chosen: list[Device]) -> None:
    """Have exactly these devices of a kind."""
    kind = KINDS[tag]
    if kind.single:
        setattr(devices, kind.place, chosen[0] if chosen else None)
    else:
        setattr(devices, kind.place, chosen)
