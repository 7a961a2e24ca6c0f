"""Controllers that a machine has anyway, that disks and channels need, and models left open.

Owns: those rules; addresses and further bridges are `conf.domain.addresses`' matter.
May touch: the domain's controllers.
Source: libvirt 9.0's behaviour, measured in corpus/domain.jsonl.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from conf.domain.architectures import root_of
from conf.domain.devices.address import CcidAddress, DriveAddress, VirtioSerialAddress
from conf.domain.devices.controller import Controller
from conf.domain.devices.controller_order import order_controllers
from conf.domain.devices.devices import Devices
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

#: USB controllers for XML without one, and their devices.
USB_MODELS: Final = (
    ("piix3-uhci", "piix3-usb-uhci"),
    ("pci-ohci", "pci-ohci"),
    ("nec-xhci", "nec-usb-xhci"),
)
#: More than the slots of all PCI buses that a machine can have (256 buses of 32).
MAX_CONTROLLER: Final = 8192
PC: Final = ("x86_64", "i686")
DRIVE_BUSES: Final = ("scsi", "fdc", "ide", "sata")


def complete_controllers(devices: Devices, arch: str, machine: str, facts: EmulatorFacts) -> None:
    """Add the missing controllers and choose the models."""
    order_controllers(devices.controllers)
    add_machine_controllers(devices, arch, machine, facts)
    for kind in DRIVE_BUSES:
        add_controllers(devices, kind, range(last_drive_controller(devices, kind) + 1))
    # A channel or smart card adds its own controller alone; a drive, those with lower numbers too.
    add_controllers(devices, "virtio-serial", serial_controllers(devices))
    add_controllers(devices, "ccid", sorted(ccid_controllers(devices)))
    for controller in devices.controllers:
        complete_model(controller, machine, facts)


def add_machine_controllers(
    devices: Devices, arch: str, machine: str, facts: EmulatorFacts
) -> None:
    """Add the controllers that the machine has built in: its PCI root, USB, and SATA on Q35."""
    root = root_of(arch, machine) if arch in PC else ""
    q35, i440fx = root == "pcie-root", root == "pci-root"
    # libvirt expects USB of every PC but the one without PCI, unknown machines included.
    if facts.arch in PC and machine != "isapc" and not has(devices, "usb", 0):
        add_usb(devices, facts, q35=q35)
    if not (q35 or i440fx):
        return
    if q35 and not has(devices, "sata", 0):
        devices.controllers.append(Controller(type="sata", index=0))
    if not has(devices, "pci", 0):
        model = "pcie-root" if q35 else "pci-root"
        devices.controllers.append(Controller(type="pci", index=0, model=model))


def add_usb(devices: Devices, facts: EmulatorFacts, *, q35: bool) -> None:
    """Add the default USB controller where the XML has none."""
    if q35 and facts.has_device("qemu-xhci"):
        devices.controllers.append(Controller(type="usb", index=0, model="qemu-xhci"))
    else:
        devices.controllers.append(Controller(type="usb", index=0))


def has(devices: Devices, kind: str, index: int | None = None) -> bool:
    """Return whether there is a controller of a type, and number."""
    return any(c.type == kind and (index is None or c.index == index) for c in devices.controllers)


def last_drive_controller(devices: Devices, bus: str) -> int:
    """Find the highest controller index of a bus that a disk uses; -1 for none."""
    numbers = [
        disk.address.controller
        for disk in devices.disks
        if disk.target.bus == bus and isinstance(disk.address, DriveAddress)
    ]
    if bus == "scsi":
        numbers += [
            hostdev.address.controller
            for hostdev in devices.hostdevs
            if isinstance(hostdev.address, DriveAddress)
        ]
    return max(numbers, default=-1)


def serial_controllers(devices: Devices) -> list[int]:
    """List the virtio-serial controllers that channels and consoles need, in their order."""
    numbers: list[int] = []
    for device in (*devices.channels, *devices.consoles):
        if isinstance(device.address, VirtioSerialAddress):
            numbers.append(device.address.controller)
        elif device.target_type == "virtio":
            numbers.append(0)
    return list(dict.fromkeys(numbers))


def ccid_controllers(devices: Devices) -> set[int]:
    """List the CCID controllers that smart cards need."""
    return {
        card.address.controller if isinstance(card.address, CcidAddress) else 0
        for card in devices.smartcards
    }


def add_controllers(devices: Devices, kind: str, numbers: Iterable[int]) -> None:
    """Add those controllers of a type that are missing.

    SCSI controllers for host devices are like those that there are.

    Raises:
        ConfError: "internal": a number is beyond what any machine has.
    """
    present = {item.index for item in devices.controllers if item.type == kind}
    model = _scsi_model(devices) if kind == "scsi" else None
    for index in numbers:
        if index > MAX_CONTROLLER:
            # Each below may be made: one number must not fill the daemon's memory.
            detail = f"No more available PCI slots for {kind} controller {index}"
            raise ConfError("internal", detail)
        if index not in present:
            devices.controllers.append(Controller(type=kind, index=index, model=model))


def _scsi_model(devices: Devices) -> str | None:
    """Return the model of the SCSI controllers, where a SCSI host device asks for more."""
    if not any(hostdev.type == "scsi" for hostdev in devices.hostdevs):
        return None
    models = (item.model for item in reversed(devices.controllers) if item.type == "scsi")
    return next((model for model in models if model), None)


def complete_model(controller: Controller, machine: str, facts: EmulatorFacts) -> None:
    """Choose the model of a controller that names none."""
    if controller.model is not None and (controller.type, controller.model) != ("scsi", "auto"):
        return
    if controller.type == "usb":
        controller.model = default_usb_model(facts)
    elif controller.type == "scsi":
        controller.model = "lsilogic" if facts.has_device("lsi53c895a") else "virtio-scsi"
    elif controller.type == "pci" and controller.index == 0:
        controller.model = "pcie-root" if machine.startswith("pc-q35") else "pci-root"


def default_usb_model(facts: EmulatorFacts) -> str | None:
    """Choose the model of a USB controller that has no model=."""
    models = (
        ("piix3-uhci", "piix3-usb-uhci"),
        ("pci-ohci", "pci-ohci"),
        ("nec-xhci", "nec-usb-xhci"),
    )
    return next((model for model, device in models if facts.has_device(device)), None)
