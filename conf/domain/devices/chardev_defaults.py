"""What serial ports, consoles, parallel ports and channels leave open.

Owns: their targets, and the pairing of the first console with the first serial port.
May touch: the devices it is given.
Source: libvirt 9.0's behaviour, measured in corpus/domain.jsonl.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from conf.domain.devices.chardev import CharDevice, CharEnd
from conf.domain.devices.devices import Devices
from conf.domain.devices.redirdev import Redirdev
from conf.domain.devices.rng import RngBackend
from conf.domain.devices.smartcard import Smartcard

#: A serial port's kind and the model of its device.
SERIAL_MODELS: Final = {
    "isa-serial": "isa-serial",
    "pci-serial": "pci-serial",
    "usb-serial": "usb-serial",
    "isa-debug": "isa-debugcon",
}
PC: Final = ("x86_64", "i686")
#: Serial ports on these buses are no console of the machine's.
PLUGGED: Final = ("pci-serial", "usb-serial")
#: The D-Bus channel that QEMU's display offers to USB redirection.
DBUS_USBREDIR: Final = "org.qemu.usbredir"
#: The folder of sockets of channels that name none.
CHANNEL_DIR: Final = "/var/lib/libvirt/qemu/channel/target"


def complete_chardevs(devices: Devices, arch: str) -> None:
    """Fill in targets, and pair the first console with the first serial port."""
    ports = (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels)
    for device in ports:
        complete_source(device)
    for redirdev in devices.redirdevs:
        complete_source(redirdev)
        if redirdev.type == "dbus" and not redirdev.ends:
            redirdev.ends = [CharEnd(channel=DBUS_USBREDIR)]
    for card in devices.smartcards:
        complete_source(card)
    for rng in devices.rngs:
        complete_source(rng.backend)
    add_console_port(devices)
    for serial in devices.serials:
        complete_serial(serial, arch)
    number(devices.serials)
    pair_console(devices)
    number_in_order(devices.parallels)
    for console in devices.consoles:
        console.target_type = console.target_type or "serial"
    number(devices.consoles)
    for channel in devices.channels:
        if channel.target_type == "virtio" and channel.target_name is None:
            channel.target_name = default_channel_name(channel)


def drop_default_paths(devices: Devices) -> None:
    """Drop channels' sockets of another domain's or an earlier start's making.

    libvirt's pattern lacks a group, so that any folder named domain-… matches.
    Source: libvirt 9.0 qemuDomainChrDefDropDefaultPath.
    """
    for channel in devices.channels:
        path, name = channel.path, re.escape(channel.target_name or "")
        if channel.type != "unix" or channel.target_type != "virtio" or path is None:
            continue
        if re.search(rf"^{re.escape(CHANNEL_DIR)}/[^/]+\.|domain-[^/]+/{name}$", path):
            channel.ends = [replace(end, path=None) for end in channel.ends]
            complete_source(channel)


def show_console_address(devices: Devices) -> None:
    """Show at the first console the address of the serial port that it stands for."""
    first = devices.consoles[0] if devices.consoles else None
    if first is not None and devices.serials and first.target_type == "serial":
        first.address = devices.serials[0].address


def complete_source(device: CharDevice | Redirdev | RngBackend | Smartcard) -> None:
    """Give TCP its default protocol, and drop empty <source> elements."""
    device.protocol = (device.protocol or "raw") if device.type == "tcp" else None
    device.ends = [end for end in device.ends if end != CharEnd(mode=end.mode)]


def add_console_port(devices: Devices) -> None:
    """Add the serial port that the first console is where the document has the console alone."""
    first = devices.consoles[0] if devices.consoles else None
    if first is not None and not devices.serials and first.target_type in (None, "serial"):
        devices.serials.append(replace(first, target_type=None, target_port=0))


def pair_console(devices: Devices) -> None:
    """Show the first serial port as the first console, too.

    A port that is plugged in (PCI, USB) is shown only where the document has a console for it.
    """
    first = devices.consoles[0] if devices.consoles else None
    if not devices.serials:
        return
    if first is not None and first.target_type in (None, "serial"):
        devices.consoles[0] = copy_of(devices.serials[0])
    elif devices.serials[0].target_type not in PLUGGED:
        devices.consoles.insert(0, copy_of(devices.serials[0]))


def copy_of(device: CharDevice) -> CharDevice:
    """Copy a serial port as a console with the same backend."""
    return replace(
        device,
        ends=list(device.ends),
        target_type="serial",
        target_model=None,
        target_port=device.target_port or 0,
        address=None,
        alias=None,
    )


def complete_serial(serial: CharDevice, arch: str) -> None:
    """Choose a serial port's kind and model."""
    if serial.target_type is None and arch in PC:
        usb = serial.address is not None and serial.address.type == "usb"
        serial.target_type = "usb-serial" if usb else "isa-serial"
    if serial.target_model is None and serial.target_type is not None:
        serial.target_model = SERIAL_MODELS.get(serial.target_type)


def number(devices: list[CharDevice]) -> None:
    """Give each device without a port the one after the highest."""
    highest = max((d.target_port for d in devices if d.target_port is not None), default=-1)
    for device in devices:
        if device.target_port is None:
            device.target_port = highest = highest + 1


def number_in_order(devices: list[CharDevice]) -> None:
    """Give each device without a port the one after the highest of those before it."""
    highest = -1
    for device in devices:
        if device.target_port is None:
            device.target_port = highest + 1
        highest = max(highest, device.target_port)


def default_channel_name(channel: CharDevice) -> str | None:
    """Return the default target name of a virtio channel."""
    names = {"spicevmc": "com.redhat.spice.0", "qemu-vdagent": "com.redhat.spice.0"}
    return names.get(channel.type)
