"""Controllers: PCI bridges, USB, SCSI, SATA, IDE, floppy, virtio-serial, CCID.

Owns: which driver a controller is, its properties, and the order in which they come.
May touch: values only.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import DriveAddress, SpaprAddress
from conf.domain.devices.controller import Controller
from conf.errors import ConfError
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device
from supervisor.workers.qemu.argv.syntax import on_off
from supervisor.workers.qemu.argv.virtio import virtio_props

ORDER: Final = ("pci", "usb", "scsi", "ide", "sata", "virtio-serial")
USB_DRIVERS: Final = {
    "piix3-uhci": "piix3-usb-uhci", "piix4-uhci": "piix4-usb-uhci", "ehci": "usb-ehci",
    "ich9-ehci1": "ich9-usb-ehci1", "ich9-uhci1": "ich9-usb-uhci1",
    "ich9-uhci2": "ich9-usb-uhci2", "ich9-uhci3": "ich9-usb-uhci3",
    "vt82c686b-uhci": "vt82c686b-usb-uhci", "pci-ohci": "pci-ohci",
    "nec-xhci": "nec-usb-xhci", "qemu-xhci": "qemu-xhci",
}  # fmt: skip
SCSI_DRIVERS: Final = {
    "lsilogic": "lsi", "lsisas1068": "mptsas1068", "lsisas1078": "megasas",
    "vmpvscsi": "pvscsi", "am53c974": "am53c974", "dc390": "dc-390", "ibmvscsi": "spapr-vscsi",
}  # fmt: skip
VIRTIO_SCSI: Final = {
    "virtio-scsi": "virtio-scsi-pci",
    "virtio-transitional": "virtio-scsi-pci-transitional",
    "virtio-non-transitional": "virtio-scsi-pci-non-transitional",
}
VIRTIO_SERIAL: Final = {
    None: "virtio-serial-pci",
    "virtio": "virtio-serial-pci",
    "virtio-transitional": "virtio-serial-pci-transitional",
    "virtio-non-transitional": "virtio-serial-pci-non-transitional",
}


def global_options(context: Context) -> Options:
    """Build -global for the root bus: its 64-bit hole, hotplug by ACPI."""
    for controller in context.domain.devices.controllers:
        if controller.type != "pci" or controller.index != 0:
            continue
        if controller.pcihole64 is not None:
            host = "q35-pcihost" if context.is_q35 else "i440FX-pcihost"
            yield "-global", f"{host}.pci-hole64-size={controller.pcihole64}K"
        if controller.target.hotplug is not None and context.is_i440fx:
            switch = on_off(controller.target.hotplug)
            yield "-global", f"PIIX4_PM.acpi-root-pci-hotplug={switch}"


def controllers(context: Context) -> Options:
    """Build every controller that is not built in, in libvirt's order of types."""
    every = context.domain.devices.controllers
    for kind in ORDER:
        for controller in every:
            if controller.type == kind:
                yield from controller_options(context, controller)
    yield from _floppy(context)


def ccid_controllers(context: Context) -> Options:
    """Build the CCID controllers after the hubs: they may be plugged into a USB hub."""
    for controller in context.domain.devices.controllers:
        if controller.type == "ccid":
            yield from controller_options(context, controller)


def controller_options(context: Context, controller: Controller) -> Options:
    """Build one controller; nothing for one built into the machine."""
    props = _properties(context, controller)
    if props is not None:
        yield device(props)


def _properties(context: Context, controller: Controller) -> Props | None:
    """Build the device's properties; None for a controller built into the machine."""
    match controller.type:
        case "pci":
            return _bridge(context, controller)
        case "usb":
            return _usb(context, controller)
        case "scsi":
            return _scsi(context, controller)
        case "sata":
            return (
                None
                if _is_builtin_sata(context, controller)
                else _plain(context, controller, "ahci")
            )
        case "ide":
            return _ide(context, controller)
        case "virtio-serial":
            return _virtio_serial(context, controller)
        case "ccid":
            return _plain(context, controller, "usb-ccid")
    return None


def _plain(context: Context, controller: Controller, driver: str) -> Props:
    return {"driver": driver, "id": controller.alias, **placed(context, controller.address)}


def _is_builtin_sata(context: Context, controller: Controller) -> bool:
    return context.is_q35 and controller.index == 0


def _ide(context: Context, controller: Controller) -> Props | None:
    if context.is_i440fx and controller.index == 0:
        return None
    raise ConfError(
        "config_unsupported",
        f"Only a single IDE controller is supported for this machine type; controller "
        f"{controller.index} of type 'ide' cannot be added",
    )


def _bridge(context: Context, controller: Controller) -> Props | None:
    """Build a PCI bridge or port."""
    driver = controller.model_name
    alias, where = controller.alias, placed(context, controller.address)
    target = controller.target
    match controller.model:
        case "pci-root" | "pcie-root":
            return None
        case "pci-bridge":
            return {"driver": driver, "chassis_nr": target.chassis_nr, "id": alias, **where}
        case "pci-expander-bus" | "pcie-expander-bus":
            return {
                "driver": driver,
                "bus_nr": target.bus_nr,
                "id": alias,
                "numa_node": target.node,
                **where,
            }
        case "pcie-root-port" | "pcie-switch-downstream-port":
            return {
                "driver": driver,
                "port": target.port,
                "chassis": target.chassis,
                "id": alias,
                "hotplug": target.hotplug if target.hotplug is False else None,
                **where,
            }
        case _:
            return {"driver": driver, "id": alias, **where}


def _usb(context: Context, controller: Controller) -> Props | None:
    model = controller.model or ""
    if model == "none":
        return None
    driver = USB_DRIVERS.get(model)
    if driver is None:
        raise ConfError("config_unsupported", f"{model} not supported in this QEMU binary")
    if not context.facts.has_device(driver):
        detail = f"USB controller model '{model}' not supported in this QEMU binary"
        raise ConfError("config_unsupported", detail)
    props: Props = {"driver": driver}
    if controller.ports is not None:
        props |= {"p2": controller.ports, "p3": controller.ports}
    if controller.master_port is not None:
        bus = f"{controller.alias}.0"
        props |= {"masterbus": bus, "firstport": controller.master_port}
    else:
        props["id"] = controller.alias
    return props | placed(context, controller.address)


def _scsi(context: Context, controller: Controller) -> Props | None:
    model = controller.model or ""
    driver = controller.driver
    props: Props = {"driver": VIRTIO_SCSI.get(model) or SCSI_DRIVERS.get(model)}
    if props["driver"] is None:
        raise ConfError("config_unsupported", f"Unsupported controller model: {model}")
    if model in VIRTIO_SCSI:
        props |= virtio_props(driver)
        if driver is not None and driver.iothread is not None:
            props["iothread"] = f"iothread{driver.iothread}"
    props["id"] = controller.alias
    if driver is not None:
        props |= {
            "num_queues": driver.queues,
            "cmd_per_lun": driver.cmd_per_lun,
            "max_sectors": driver.max_sectors,
            "ioeventfd": driver.ioeventfd,
        }
    if model == "ibmvscsi":
        at = controller.address
        return props | {"reg": at.reg if isinstance(at, SpaprAddress) else None}
    return props | placed(context, controller.address)


def _virtio_serial(context: Context, controller: Controller) -> Props:
    driver = VIRTIO_SERIAL[controller.model]
    return {
        "driver": driver,
        **virtio_props(controller.driver),
        "id": controller.alias,
        "max_ports": controller.ports,
        "vectors": controller.vectors,
        **placed(context, controller.address),
    }


def _floppy(context: Context) -> Options:
    """Build the floppy controller; its drives' boot order is its own property."""
    floppies = [d for d in context.domain.devices.disks if d.target.bus == "fdc"]
    if not floppies:
        return
    orders = {}
    for disk in floppies:
        order = context.boot_order(disk)
        if order is not None:
            second = isinstance(disk.address, DriveAddress) and disk.address.unit > 0
            orders["bootindexB" if second else "bootindexA"] = order
    if context.is_q35:
        yield device({"driver": "isa-fdc", **orders})
        return
    for name, order in orders.items():
        yield "-global", f"isa-fdc.{name}={order}"
