"""How a device's <address> is written among its properties.

Owns: bus names.
May touch: values only.
"""

from __future__ import annotations

from conf.domain.devices.address import (
    Address,
    CcidAddress,
    DriveAddress,
    IsaAddress,
    PciAddress,
    UsbAddress,
    VirtioSerialAddress,
)
from conf.errors import ConfError
from supervisor.workers.qemu.argv.launch_inputs import Context, Props


def controller_alias(context: Context, kind: str, index: int) -> str:
    """Return the alias of a controller, after which its buses are named.

    Raises:
        ConfError: "internal": there is no such controller.
    """
    for controller in context.domain.devices.controllers:
        if controller.type == kind and controller.index == index and controller.alias:
            return controller.alias
    raise ConfError(
        "internal", f"Device alias was not set for {kind} controller with index {index}"
    )


def pci_bus(context: Context, index: int) -> str:
    """Name a PCI bus: a root bus has the machine's name for it, whatever its controller's alias."""
    if index == 0:
        return "pcie.0" if context.is_q35 else "pci.0"
    return controller_alias(context, "pci", index)


def scsi_place(context: Context, address: DriveAddress) -> Props:
    """Build the place on a SCSI bus; that of an LSI adapter has targets without units."""
    models = {
        controller.index: controller.model
        for controller in context.domain.devices.controllers
        if controller.type == "scsi"
    }
    props: Props = {"bus": f"{controller_alias(context, 'scsi', address.controller)}.0"}
    if models.get(address.controller) == "lsilogic":
        return props | {"scsi-id": address.unit}
    return props | {"channel": 0, "scsi-id": address.target, "lun": address.unit}


def placed(context: Context, address: Address | None) -> Props:
    """Build the properties that put a device at its address."""
    match address:
        case PciAddress():
            return _pci(context, address)
        case UsbAddress():
            return {
                "bus": f"{controller_alias(context, 'usb', address.bus)}.0",
                "port": address.port,
            }
        case CcidAddress():
            return {"bus": f"{controller_alias(context, 'ccid', address.controller)}.0"}
        case VirtioSerialAddress():
            bus = controller_alias(context, "virtio-serial", address.controller)
            return {"bus": f"{bus}.{address.bus}", "nr": address.port}
        case IsaAddress():
            return {"iobase": address.iobase, "irq": address.irq}
        case _:
            return {}


def _pci(context: Context, address: PciAddress) -> Props:
    slot = f"{address.slot:#x}"
    if address.function:
        slot += f".{address.function:#x}"
    return {
        "bus": pci_bus(context, address.bus),
        "multifunction": address.multifunction,
        "addr": slot,
    }
