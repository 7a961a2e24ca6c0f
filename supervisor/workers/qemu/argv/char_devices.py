"""Serial lines, parallel ports, consoles and channels: the devices that the guest sees.

Owns: the device in front of each chardev.
May touch: values only.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.chardev import CharDevice
from conf.errors import ConfError
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.chardev import chardev
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device
from supervisor.workers.qemu.argv.syntax import json_of

SERIAL_DRIVERS: Final = ("isa-serial", "usb-serial", "pci-serial", "isa-debugcon")
AGENT_CHANNEL: Final = "com.redhat.spice.0"


def serials(context: Context) -> Options:
    """Build the serial ports: a chardev and a device each."""
    for serial in context.domain.devices.serials:
        yield from serial_options(context, serial)


def serial_options(context: Context, serial: CharDevice) -> Options:
    """Build one serial port."""
    alias = serial.alias or ""
    yield from chardev(context, alias, serial)
    driver = serial.target_model or "isa-serial"
    if driver not in SERIAL_DRIVERS:
        raise ConfError(
            "config_unsupported", f"'{driver}' is not supported as model of a serial device"
        )
    props: Props = {"driver": driver, "chardev": f"char{alias}", "id": alias}
    if driver == "isa-serial":
        props["index"] = serial.target_port
    yield device(props | placed(context, serial.address))


def parallels(context: Context) -> Options:
    """Build the parallel ports."""
    for parallel in context.domain.devices.parallels:
        alias = parallel.alias or ""
        yield from chardev(context, alias, parallel)
        yield device({"driver": "isa-parallel", "chardev": f"char{alias}", "id": alias})


def channels(context: Context) -> Options:
    """Build the channels: virtio-serial ports, or addresses that QEMU's network forwards."""
    for channel in context.domain.devices.channels:
        yield from channel_options(context, channel)


def channel_options(context: Context, channel: CharDevice) -> Options:
    """Build one channel."""
    alias = channel.alias or ""
    name = "vdagent" if channel.target_name == AGENT_CHANNEL else None
    yield from chardev(context, alias, channel, name=name)
    if channel.target_type == "guestfwd":
        yield "-netdev", json_of(_forward(channel, alias))
    elif channel.target_type == "virtio":
        yield device(_port(context, channel, alias))
    else:
        raise ConfError(
            "config_unsupported",
            f"channel target type '{channel.target_type}' is not supported; use 'virtio'",
        )


def _forward(channel: CharDevice, alias: str) -> Props:
    where = f"tcp:{channel.target_address}:{channel.target_port}"
    return {
        "type": "user",
        "guestfwd": [{"str": f"{where}-chardev:char{alias}"}],
        "id": alias,
    }


def _port(context: Context, channel: CharDevice, alias: str) -> Props:
    name = channel.target_name
    return {
        "driver": "virtserialport",
        **placed(context, channel.address),
        "chardev": f"char{alias}",
        "id": alias,
        "name": name,
    }


def consoles(context: Context) -> Options:
    """Build the consoles that are not serial ports."""
    for console in context.domain.devices.consoles:
        if console.target_type == "serial":
            continue
        if console.target_type != "virtio":
            raise ConfError(
                "config_unsupported",
                f"console target type '{console.target_type}' is not supported; use 'virtio'",
            )
        alias = console.alias or ""
        yield from chardev(context, alias, console)
        yield device(
            {
                "driver": "virtconsole",
                **placed(context, console.address),
                "chardev": f"char{alias}",
                "id": alias,
            }
        )
