"""From a device's command line to the QMP commands that add it, each with its undoing. Pure.

Owns: that translation, for what a running emulator takes. May not touch: the emulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from conf.domain import Domain
from conf.domain.device_xml import Device
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.controller import Controller
from conf.domain.devices.disk import Disk
from conf.domain.devices.input import Input
from conf.domain.devices.interface import Interface
from conf.domain.devices.rng import Rng
from conf.domain.devices.shmem import Shmem
from conf.errors import ConfError
from supervisor.workers.qemu.argv.char_devices import channel_options, serial_options
from supervisor.workers.qemu.argv.controllers import controller_options
from supervisor.workers.qemu.argv.disk import disk_options
from supervisor.workers.qemu.argv.inputs import input_options
from supervisor.workers.qemu.argv.launch_inputs import Context, Options
from supervisor.workers.qemu.argv.network import interface_options
from supervisor.workers.qemu.argv.shared_memory import shmem_options
from supervisor.workers.qemu.argv.small_devices import rng_options
from supervisor.workers.qemu.block.nodes import number_disk
from supervisor.workers.qemu.hotplug.chardevs import chardev_arguments

Arguments = dict[str, object]

#: Buses whose drives a running machine takes.
DISK_BUSES: Final = ("virtio", "scsi", "usb", "sata")
INPUT_BUSES: Final = ("usb", "virtio")
CONTROLLERS: Final = ("scsi", "virtio-serial")
SERIAL_MODELS: Final = ("pci-serial", "usb-serial")
#: Option: the command, and the command and member that undo it.
COMMANDS: Final = {
    "-object": ("object-add", "object-del", "id"),
    "-blockdev": ("blockdev-add", "blockdev-del", "node-name"),
    "-netdev": ("netdev_add", "netdev_del", "id"),
    "-device": ("device_add", "device_del", "id"),
}


@dataclass(frozen=True, slots=True)
class QmpStep:
    """One command, and what takes it back."""

    command: str
    arguments: Arguments
    undo: str
    undo_arguments: Arguments


def attach_steps(context: Context, device: Device, *, first_node: int) -> list[QmpStep]:
    """The steps that give a guest a device.

    Args:
        context: with the domain as it will be, and descriptors by name.
        device: one of the domain's, completed, with its alias and address.
        first_node: the lowest number that no block node of the guest has.

    Raises:
        ConfError: "operation_unsupported": the device cannot come to a running guest.
    """
    return [qmp_step(option, text) for option, text in _options(context, device, first_node)]


def check_attachable(domain: Domain, device: Device) -> None:
    """Refuse a device that a running guest cannot be given.

    Raises:
        ConfError: "operation_unsupported".
    """
    match device:
        case Disk() if device.target.bus in DISK_BUSES and device.type != "vhostuser":
            return
        case Interface() if device.type != "hostdev":
            return
        case Rng() | Shmem():
            return
        case CharDevice() if is_channel(domain, device) or device.target_model in SERIAL_MODELS:
            return
        case Input() if device.bus in INPUT_BUSES:
            return
        case Controller() if device.type in CONTROLLERS:
            return
    raise ConfError("operation_unsupported", f"{describe_device(device)} cannot be attached live")


def _options(context: Context, device: Device, first_node: int) -> Options:
    check_attachable(context.domain, device)
    match device:
        case Disk():
            return disk_options(context, device, number_disk(device, first_node))
        case Interface():
            return interface_options(context, device)
        case Rng():
            return rng_options(context, device)
        case Shmem():
            return shmem_options(context, device)
        case CharDevice() if is_channel(context.domain, device):
            return channel_options(context, device)
        case CharDevice():
            return serial_options(context, device)
        case Input():
            return input_options(context, device)
        case Controller():
            return controller_options(context, device)
    raise AssertionError(f"{describe_device(device)} was checked")


def is_channel(domain: Domain, device: CharDevice) -> bool:
    """Whether a device is a port for programs, which may come and go."""
    listed = any(device is channel for channel in domain.devices.channels)
    return listed and device.target_type == "virtio"


def describe_device(device: Device) -> str:
    """What a refusal calls a device."""
    match device:
        case Disk():
            return f"disk '{device.target.dev}' on bus '{device.target.bus}'"
        case Interface():
            return f"interface of type '{device.type}'"
        case Controller():
            return f"controller of type '{device.type}'"
        case CharDevice():
            return f"character device with target '{device.target_type}'"
        case Input():
            return f"input device on bus '{device.bus}'"
    return f"device '{device.__element__}'"  # type: ignore[union-attr]


def qmp_step(option: str, text: str) -> QmpStep:
    """Translate one option.

    Raises:
        ConfError: "operation_unsupported": a running emulator does not take it.
    """
    if option == "-chardev":
        arguments = chardev_arguments(text)
        return QmpStep("chardev-add", arguments, "chardev-remove", {"id": arguments["id"]})
    if option not in COMMANDS:
        raise ConfError("operation_unsupported", f"what needs {option} cannot be attached live")
    command, undo, member = COMMANDS[option]
    arguments = msgspec.json.decode(text, type=Arguments)
    return QmpStep(command, arguments, undo, {member: arguments[member]})
