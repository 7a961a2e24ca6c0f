"""Passthrough of host devices: PCI, mediated, USB, SCSI.

Owns: their -device options.
May touch: values only; binding to vfio-pci and opening is the worker's.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import PlainAddress
from conf.domain.devices.hostdev import Hostdev
from conf.errors import ConfError
from supervisor.workers import usb_devices
from supervisor.workers.qemu.argv import host_scsi as scsi
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device

#: Whether a guest's reset of the device reaches it, and also before the guest has configured it.
GUEST_RESETS: Final[dict[str, Props]] = {
    "off": {"guest-reset": False},
    "uninitialized": {"guest-reset": True, "guest-resets-all": False},
    "on": {"guest-reset": True, "guest-resets-all": True},
}


def host_devices(context: Context) -> Options:
    """Build every <hostdev> but those that are optional and not there."""
    for hostdev in context.domain.devices.hostdevs:
        # One without a place in the guest is kept for the host's sake: others cannot have it.
        unassigned = isinstance(hostdev.address, PlainAddress)  # of its type for a PCI device
        if not hostdev.source.missing and not unassigned:
            yield from hostdev_options(context, hostdev)


def hostdev_options(context: Context, hostdev: Hostdev) -> Options:
    """Build one <hostdev>.

    Raises:
        ConfError: "config_unsupported".
    """
    if hostdev.mode != "subsystem":
        raise ConfError(
            "config_unsupported", f"hostdev mode '{hostdev.mode}' is not supported in QEMU"
        )
    if hostdev.type == "scsi":
        yield from scsi.device_options(context, hostdev)
    else:
        yield device(_device(context, hostdev) | placed(context, hostdev.address))


def _device(context: Context, hostdev: Hostdev) -> Props:
    match hostdev.type:
        case "pci":
            return _pci(context, hostdev)
        case "mdev":
            return _mdev(context, hostdev)
        case "usb":
            return _usb(context, hostdev)
    raise ConfError(
        "config_unsupported",
        f"host device of type '{hostdev.type}' cannot be given to a guest yet",
    )


def _pci(context: Context, hostdev: Hostdev) -> Props:
    source = hostdev.source.pci
    if source is None:
        raise ConfError("xml", "a host device of type 'pci' needs <source><address/></source>")
    rom = hostdev.rom
    return {
        "driver": "vfio-pci",
        "host": f"{source.domain:04x}:{source.bus:02x}:{source.slot:02x}.{source.function:x}",
        "id": hostdev.alias,
        "bootindex": context.boot_order(hostdev),
        "rombar": None if rom is None or rom.bar is None else int(rom.bar),
        "romfile": rom.file if rom else None,
    }


def _mdev(context: Context, hostdev: Hostdev) -> Props:
    return {
        # QEMU has the guest's firmware draw by a device that cannot be unplugged alone.
        "driver": "vfio-pci-nohotplug" if hostdev.ramfb else hostdev.model or "vfio-pci",
        "id": hostdev.alias,
        "sysfsdev": f"/sys/bus/mdev/devices/{hostdev.source.uuid}",
        "display": None if hostdev.display is None else ("on" if hostdev.display else "off"),
        "ramfb": hostdev.ramfb,
        "bootindex": context.boot_order(hostdev),
    }


def _usb(context: Context, hostdev: Hostdev) -> Props:
    """Build a USB host device by its bus and device number."""
    node = usb_devices.node(hostdev)
    if not node:
        raise ConfError("internal", "USB host device is missing bus/device information")
    return {
        "driver": "usb-host",
        "hostdevice": node,
        **GUEST_RESETS.get(hostdev.source.guest_reset or "", {}),
        "id": hostdev.alias,
        "bootindex": context.boot_order(hostdev),
    }
