"""What serial ports, consoles, parallel ports and channels leave open.

Owns: their targets, and the pairing of the first console with the first serial port.
May touch: the devices it is given.
Source: libvirt 9.0's behaviour, measured in corpus/domain.jsonl.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conf.domain.devices.chardev import CharDevice, CharEnd
from conf.domain.devices.devices import Devices

#: A serial port's kind and the model of its device.
SERIAL_MODELS: Final = {
    "isa-serial": "isa-serial",
    "pci-serial": "pci-serial",
    "usb-serial": "usb-serial",
    "isa-debug": "isa-debugcon",
}
PC: Final = ("x86_64", "i686")


def complete_chardevs(devices: Devices, arch: str) -> None:
    """Fill in targets, and pair the first console with the first serial port."""
    ports = (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels)
    for device in ports:
        complete_source(device)
    pair_console(devices)
    for serial in devices.serials:
        complete_serial(serial, arch)
    number(devices.serials)
    number(devices.parallels)
    for console in devices.consoles:
        console.target_type = console.target_type or "serial"
    number(devices.consoles)
    for channel in devices.channels:
        if channel.target_type == "virtio" and channel.target_name is None:
            channel.target_name = default_channel_name(channel)


def complete_source(device: CharDevice) -> None:
    """Give TCP its default protocol, and drop empty <source> elements."""
    device.protocol = (device.protocol or "raw") if device.type == "tcp" else None
    device.ends = [end for end in device.ends if end != CharEnd(mode=end.mode)]


def pair_console(devices: Devices) -> None:
    """Make the first serial port the first console, too, unless that is of another type."""
    first = devices.consoles[0] if devices.consoles else None
    if first is None:
        if devices.serials:
            mirror = copy_of(devices.serials[0])
            devices.consoles.append(mirror)
        return
    if first.target_type not in (None, "serial"):
        return
    if devices.serials:
        devices.consoles[0] = copy_of(devices.serials[0])
    else:
        devices.serials.append(replace(first, target_type=None, target_port=None))
        devices.consoles[0] = copy_of(first)


def copy_of(device: CharDevice) -> CharDevice:
    """Copy a serial port as a console with the same backend."""
    return replace(
        device,
        ends=list(device.ends),
        target_type="serial",
        target_model=None,
        target_port=0,
        address=None,
        alias=None,
    )


def complete_serial(serial: CharDevice, arch: str) -> None:
    """Choose a serial port's kind and model."""
    if serial.target_type is None and arch in PC:
        kinds = {"pci": "pci-serial", "usb": "usb-serial", "isa": "isa-serial"}
        kind = serial.address.type if serial.address is not None else "isa"
        serial.target_type = kinds.get(kind, "isa-serial")
    if serial.target_model is None and serial.target_type is not None:
        serial.target_model = SERIAL_MODELS.get(serial.target_type)


def number(devices: list[CharDevice]) -> None:
    """Give devices without a port the next free one."""
    taken = {device.target_port for device in devices if isinstance(device.target_port, int)}
    for device in devices:
        if device.target_port is None:
            device.target_port = next(n for n in range(len(devices) + 1) if n not in taken)
            taken.add(device.target_port)


def default_channel_name(channel: CharDevice) -> str | None:
    """Return the default target name of a virtio channel."""
    names = {"spicevmc": "com.redhat.spice.0", "qemu-vdagent": "com.redhat.spice.0"}
    return names.get(channel.type)
