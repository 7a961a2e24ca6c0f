"""Translates a device's command line options to QMP commands, each with its undo. Pure.

Owns: that translation, and which devices can be hotplugged. May not touch: QEMU.

The JSON of -device, -object, -blockdev and -netdev is the arguments of the QMP commands.
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
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.input import Input
from conf.domain.devices.interface import Interface
from conf.domain.devices.memory import MemoryDevice
from conf.domain.devices.redirdev import Redirdev
from conf.domain.devices.rng import Rng
from conf.domain.devices.shmem import Shmem
from conf.domain.devices.watchdog import Watchdog
from conf.errors import ConfError
from supervisor.workers.qemu.argv.char_devices import channel_options, serial_options
from supervisor.workers.qemu.argv.controllers import controller_options
from supervisor.workers.qemu.argv.disk import disk_options
from supervisor.workers.qemu.argv.filesystem import virtiofs_options
from supervisor.workers.qemu.argv.host_devices import hostdev_options
from supervisor.workers.qemu.argv.host_scsi import device_options as scsi_options
from supervisor.workers.qemu.argv.inputs import input_options
from supervisor.workers.qemu.argv.launch_inputs import Context, Options
from supervisor.workers.qemu.argv.memory import MODULES, module_options
from supervisor.workers.qemu.argv.network import interface_options
from supervisor.workers.qemu.argv.shared_memory import shmem_options
from supervisor.workers.qemu.argv.small_devices import rng_options, watchdog_options
from supervisor.workers.qemu.argv.usb import redirdev_options
from supervisor.workers.qemu.block.nodes import number_disk
from supervisor.workers.qemu.hotplug.chardevs import chardev_arguments
from supervisor.workers.qemu.qmp.monitor import COMMAND_S

Arguments = dict[str, object]

#: To open an image: LUKS makes its key in two seconds of processor time, a server may be far away.
OPEN_S: Final = 30.0

#: Buses that take a drive while the machine runs; IDE and floppy controllers do not.
DISK_BUSES: Final = ("virtio", "scsi", "usb", "sata")
HOSTDEV_TYPES: Final = ("usb", "scsi", "pci")
#: The PCI card; the others are parts of the board.
WATCHDOG_MODELS: Final = ("i6300esb",)
INPUT_BUSES: Final = ("usb", "virtio")
CONTROLLERS: Final = ("scsi", "virtio-serial")
SERIAL_MODELS: Final = ("pci-serial", "usb-serial")
#: Option: its QMP command, the command that undoes it and that one's argument.
COMMANDS: Final = {
    "-object": ("object-add", "object-del", "id"),
    "-blockdev": ("blockdev-add", "blockdev-del", "node-name"),
    "-netdev": ("netdev_add", "netdev_del", "id"),
    "-device": ("device_add", "device_del", "id"),
}


@dataclass(frozen=True, slots=True)
class QmpStep:
    """A QMP command, and the command that undoes it."""

    command: str
    arguments: Arguments
    undo: str
    undo_arguments: Arguments

    @property
    def timeout_s(self) -> float:
        """Seconds for QEMU's answer; a guest that hangs was found out by the query before."""
        return OPEN_S if self.command == "blockdev-add" else COMMAND_S


def attach_steps(context: Context, device: Device, *, first_node: int) -> list[QmpStep]:
    """List the steps that attach a device, backends first.

    Args:
        context: with the domain as planned, and names of descriptors (`getfd`).
        device: one of the domain's, with alias and address.
        first_node: a number that no block node of QEMU has (`nodes.free_index`).

    Raises:
        ConfError: "operation_unsupported": the device cannot be hotplugged.
    """
    options = _options(context, device, first_node)
    # Descriptors are passed before (`output_fds`): QEMU itself numbers the sets.
    return [qmp_step(option, text) for option, text in options if option != "-add-fd"]


def check_attachable(domain: Domain, device: Device) -> None:
    """Refuse a device that cannot be hotplugged.

    Raises:
        ConfError: "operation_unsupported".
    """
    if not is_hotpluggable(domain, device):
        detail = f"{describe_device(device)} cannot be attached live"
        raise ConfError("operation_unsupported", detail)


def is_hotpluggable(domain: Domain, device: Device) -> bool:
    """Return whether a device can come to a running guest and go."""
    match device:
        case Disk():
            return device.target.bus in DISK_BUSES
        case Interface():
            return device.type != "hostdev"
        case CharDevice():
            return is_channel(domain, device) or device.target_model in SERIAL_MODELS
        case Input():
            return device.bus in INPUT_BUSES
        case Controller():
            return device.type in CONTROLLERS
        case Hostdev():
            return device.type in HOSTDEV_TYPES
        case Watchdog():
            return device.model in WATCHDOG_MODELS
        case Filesystem():
            return device.driver_type == "virtiofs"
        case MemoryDevice():
            return device.model in MODULES
    return isinstance(device, (Rng, Shmem, Redirdev))


def _options(context: Context, device: Device, first_node: int) -> Options:
    check_attachable(context.domain, device)
    match device:
        case Disk():
            return disk_options(context, device, number_disk(device, first_node))
        case Hostdev() if device.type == "scsi":
            return scsi_options(context, device, first_node)
        case Interface():
            return interface_options(context, device)
        case CharDevice() if is_channel(context.domain, device):
            return channel_options(context, device)
        case CharDevice():
            return serial_options(context, device)
    return _small_device_options(context, device)


def _small_device_options(context: Context, device: Device) -> Options:
    match device:
        case Rng():
            return rng_options(context, device)
        case Shmem():
            return shmem_options(context, device)
        case Input():
            return input_options(context, device)
        case Redirdev():
            return redirdev_options(context, device)
        case Hostdev():
            return hostdev_options(context, device)
        case Watchdog():
            return watchdog_options(context, device)
        case Filesystem():
            return virtiofs_options(context, device)
        case Controller():
            return controller_options(context, device)
        case MemoryDevice():
            return module_options(context, device)
    raise AssertionError(f"{describe_device(device)} was checked")


def is_channel(domain: Domain, device: CharDevice) -> bool:
    """Return whether a device is a virtio channel, whose port can be hotplugged."""
    listed = any(device is channel for channel in domain.devices.channels)
    return listed and device.target_type == "virtio"


def describe_device(device: Device) -> str:
    """Describe a device for an error message."""
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
    """Translate one command line option.

    Raises:
        ConfError: "operation_unsupported": it has no QMP command.
    """
    if option == "-chardev":
        arguments = chardev_arguments(text)
        return QmpStep("chardev-add", arguments, "chardev-remove", {"id": arguments["id"]})
    if option not in COMMANDS:
        raise ConfError(
            "operation_unsupported", f"a device that needs {option} cannot be attached live"
        )
    command, undo, member = COMMANDS[option]
    arguments = msgspec.json.decode(text, type=Arguments)
    return QmpStep(command, arguments, undo, {member: arguments[member]})
