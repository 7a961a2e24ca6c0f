"""Checks of controllers, and of devices that need one, for QEMU.

Owns: these checks of a completed domain. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.addresses.pci import BRIDGE_NAMES
from conf.domain.architectures import root_of
from conf.domain.devices.address import DriveAddress
from conf.domain.devices.controller import Controller
from conf.domain.model import Domain
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
PATH: Final = "domain/devices/controller"
ROOTS: Final = ("pci-root", "pcie-root")
MAX_PCI_INDEX: Final = 255  # the number of its bus has eight bits
#: Names that a model can have besides its usual one.
OTHER_NAMES: Final = {"pcie-root-port": ("ioh3420",)}
_PORTS: Final = ("pcie-root-port", "pcie-switch-downstream-port")
_EXPANDERS: Final = ("pci-expander-bus", "pcie-expander-bus")
#: Numbers of <target>: the field, the name in messages, and the models that have it.
OPTIONS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "index": ("targetIndex", ()),
    "bus_nr": ("busNr", _EXPANDERS),
    "node": ("numaNode", _EXPANDERS),
    "chassis_nr": ("chassisNr", ("pci-bridge",)),
    "chassis": ("chassis", _PORTS),
    "port": ("port", _PORTS),
    "hotplug": ("hotplug", ("pci-root", *_PORTS)),
}
#: The most ports a USB controller can have.
USB_PORTS: Final = {"qemu-xhci": 15, "nec-xhci": 15}


def check_roots(domain: Domain) -> None:
    """Refuse a PCI root of another model than the machine's own.

    Raises:
        ConfError: "xml".
    """
    roots = [c for c in domain.devices.controllers if c.type == "pci" and c.model in ROOTS]
    numbered = any(c.type == "pci" and c.index == 0 for c in domain.devices.controllers)
    if any(root.index or (root.index is None and numbered) for root in roots):
        raise ConfError("xml", "pci-root and pcie-root controllers should have index 0", PATH)
    _check_indexes(domain)
    expected = _root_of(domain)
    first = 0 if numbered else None  # the first without a number gets the root's
    root = next(
        (c for c in domain.devices.controllers if c.type == "pci" and c.index == first), None
    )
    if expected and root is not None and root.model != expected:
        detail = (
            f"The PCI controller with index='0' must be model='{expected}' for this machine type, "
            f"but model='{root.model or '(null)'}' was found instead"
        )
        raise ConfError("xml", detail, PATH)
    for controller in domain.devices.controllers:
        if controller.type == "pci" and controller.model is None:
            raise ConfError("internal", "PCI controller model was not set correctly", PATH)
        _check_expander(controller.model or "", expected)


def _check_indexes(domain: Domain) -> None:
    """Refuse indexes that are too high, taken, or not a root's."""
    seen: set[tuple[str, int]] = set()
    has_root = False
    for controller in domain.devices.controllers:
        if controller.type == "pci" and (controller.index or 0) > MAX_PCI_INDEX:
            detail = f"PCI controller index {controller.index} too high, maximum is {MAX_PCI_INDEX}"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/@index")
        if controller.type == "pci" and controller.model in ROOTS:
            # A second one without an index would have the next that is free.
            if controller.index or (controller.index is None and has_root):
                detail = "pci-root and pcie-root controllers should have index 0"
                raise ConfError("xml", detail, PATH)
            has_root = True
        if controller.index is None or controller.type == "usb":
            continue  # parts of a USB controller share its index; its ports tell the others
        if (controller.type, controller.index) in seen:
            detail = f"Multiple '{controller.type}' controllers with index '{controller.index}'"
            raise ConfError("xml", detail, PATH)
        seen.add((controller.type, controller.index))


def _check_expander(model: str, root: str) -> None:
    """Refuse an expander bus on a machine whose root bus is of another kind."""
    expected = {"pcie-expander-bus": "pcie-root", "pci-expander-bus": "pci-root"}.get(model)
    if expected is not None and root not in ("", expected):
        detail = f"{model} controllers are not supported with this machine type"
        raise ConfError(UNSUPPORTED, detail, PATH)


def _root_of(domain: Domain) -> str:
    return root_of(domain.os.type.arch, domain.os.type.machine or "")


def check_ide(domain: Domain) -> None:
    """Refuse IDE controllers where the machine has none of its own.

    Raises:
        ConfError: "config_unsupported".
    """
    if _root_of(domain) == "pci-root":
        return
    if any(controller.type == "ide" for controller in domain.devices.controllers):
        detail = "IDE controllers are unsupported for this QEMU binary or machine type"
        raise ConfError(UNSUPPORTED, detail, PATH)


def check_bridge_names(domain: Domain) -> None:
    """Check <model name=>, QEMU's name of a bridge or port, against the controller's model.

    Raises:
        ConfError: "config_unsupported".
    """
    for controller in domain.devices.controllers:
        name, model = controller.model_name, controller.model or ""
        if name is None or name in (BRIDGE_NAMES.get(model), *OTHER_NAMES.get(model, ())):
            continue
        wrong = "is not valid" if model in ROOTS else "has invalid value"
        detail = (
            f"Option 'modelName' {wrong} for PCI controller with index '{controller.index}', "
            f"model '{model}' and modelName '{name}'"
        )
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/model/@name")


def check_bridge_options(domain: Domain) -> None:
    """Check the numbers of bridges: which models have them, and their cells.

    Source: libvirt 9.0 qemuValidateDomainDeviceDefControllerPCI.

    Raises:
        ConfError: "config_unsupported"; "xml": no cell has the number.
    """
    for controller in domain.devices.controllers:
        if controller.type != "pci":
            continue
        model = controller.model or ""
        if model in ROOTS and controller.address is not None:
            detail = "pci-root and pcie-root controllers should not have an address"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/address")
        if controller.pcihole is not None and model not in ROOTS:
            raise _invalid_option(controller, "pcihole64")
        for name, (option, models) in OPTIONS.items():
            if getattr(controller.target, name) is not None and model not in models:
                raise _invalid_option(controller, option)


def check_cells_of_bridges(domain: Domain) -> None:
    """Check that the cells of expander buses are the guest's.

    Raises:
        ConfError: "xml".
    """
    cells = domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else []
    for controller in domain.devices.controllers:
        node = controller.target.node
        if controller.type == "pci" and node is not None and node >= len(cells):
            detail = (
                f"{controller.model} with index {controller.index} is configured for a NUMA node "
                f"({node}) not present in the domain's <cpu><numa> array ({len(cells)})"
            )
            raise ConfError("xml", detail, f"{PATH}/target/node")


def _invalid_option(controller: Controller, option: str) -> ConfError:
    detail = (
        f"Option '{option}' is not valid for PCI controller with index '{controller.index}', "
        f"model '{controller.model}' and modelName '{controller.model_name or 'none'}'"
    )
    return ConfError(UNSUPPORTED, detail, f"{PATH}/target/@{option}")


def check_iothreads(domain: Domain) -> None:
    """Check that the I/O threads of SCSI controllers are there.

    Raises:
        ConfError: "config_unsupported".
    """
    present = {thread.id for thread in domain.iothread_list()}
    for controller in domain.devices.controllers:
        _check_driver(controller)
        thread = controller.driver.iothread if controller.driver else None
        if controller.type == "scsi" and thread and thread not in present:
            detail = f"controller iothread '{thread}' not defined in iothreadid"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@iothread")


def _check_driver(controller: Controller) -> None:
    """Refuse settings of virtio-scsi elsewhere."""
    virtio = controller.type == "scsi" and (controller.model or "").startswith("virtio")
    for name in ("queues", "cmd_per_lun", "max_sectors", "ioeventfd"):
        if not virtio and controller.driver and getattr(controller.driver, name) is not None:
            detail = f"'{name}' is only supported by virtio-scsi controller"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@{name}")


def check_scsi(domain: Domain) -> None:
    """Check the SCSI controllers, and targets that lsilogic does not have.

    Raises:
        ConfError: "config_unsupported".
    """
    models = {c.index: c.model for c in domain.devices.controllers if c.type == "scsi"}
    if "buslogic" in models.values():
        raise ConfError(UNSUPPORTED, "Unsupported controller model: buslogic", f"{PATH}/@model")
    if "ncr53c90" in models.values():
        detail = "ncr53c90 SCSI controller is not a built-in for this machine"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@model")
    devices = domain.devices
    units = [disk.address for disk in devices.disks if disk.target.bus == "scsi"]
    units.extend(hostdev.address for hostdev in devices.hostdevs if hostdev.type == "scsi")
    for address in units:
        if not isinstance(address, DriveAddress) or not address.target:
            continue
        if models.get(address.controller) == "lsilogic":
            detail = "target must be 0 for controller model 'lsilogic'"
            raise ConfError(UNSUPPORTED, detail, "address/@target")


def check_usb(domain: Domain) -> None:
    """Check what uses USB against the controllers there are.

    Raises:
        ConfError: USB is switched off, or a controller cannot have so many ports.
    """
    controllers = [c for c in domain.devices.controllers if c.type == "usb"]
    for controller in controllers:
        most = USB_PORTS.get(controller.model or "")
        if most is not None and (controller.ports or 0) > most:
            detail = f"'{controller.model}' controller only supports up to '{most}' ports"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/@ports")
    if not any(controller.model == "none" for controller in controllers):
        return
    devices = domain.devices
    users = {
        "USB input device": any(item.bus == "usb" for item in devices.inputs),
        "redirected USB device": bool(devices.redirdevs),
        "USB hostdev": any(item.type == "usb" for item in devices.hostdevs),
        "USB disk": any(disk.target.bus == "usb" for disk in devices.disks),
        "USB hub": bool(devices.hubs),
    }
    for user, present in users.items():
        if present:
            detail = f"Can't add {user}. USB bus is disabled"
            raise ConfError(UNSUPPORTED, detail, "domain/devices")
