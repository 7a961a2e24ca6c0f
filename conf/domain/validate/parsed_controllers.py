"""Checks of parsed controllers: their models, and USB controllers among each other.

Owns: these checks, whatever the hypervisor. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from conf.domain.devices.controller import Controller
from conf.errors import ConfError

PATH: Final = "domain/devices/controller"
#: Models of each type of controller; a type that is not here has none.
CONTROLLER_MODELS: Final = {
    "pci": (
        "pci-root", "pcie-root", "pci-bridge", "dmi-to-pci-bridge", "pcie-to-pci-bridge",
        "pcie-root-port", "pcie-switch-upstream-port", "pcie-switch-downstream-port",
        "pci-expander-bus", "pcie-expander-bus",
    ),
    "scsi": (
        "auto", "buslogic", "lsilogic", "lsisas1068", "vmpvscsi", "ibmvscsi", "virtio-scsi",
        "lsisas1078", "virtio-transitional", "virtio-non-transitional", "ncr53c90", "dc390",
        "am53c974",
    ),
    "usb": (
        "piix3-uhci", "piix4-uhci", "ehci", "ich9-ehci1", "ich9-uhci1", "ich9-uhci2",
        "ich9-uhci3", "vt82c686b-uhci", "pci-ohci", "nec-xhci", "qusb1", "qusb2", "qemu-xhci",
        "none",
    ),
    "ide": ("piix3", "piix4", "ich6"),
    "virtio-serial": ("virtio", "virtio-transitional", "virtio-non-transitional"),
}  # fmt: skip


def check_parsed_controllers(controllers: Sequence[Controller]) -> None:
    """Check controllers before their defaults are filled in.

    Raises:
        ConfError: "config_unsupported"; "xml_detail" of USB.
    """
    for controller in controllers:
        _check_model(controller)
    usb = [controller for controller in controllers if controller.type == "usb"]
    if len(usb) > 1 and any(controller.model == "none" for controller in usb):
        detail = "Can't add another USB controller: USB is disabled for this domain"
        raise ConfError("xml_detail", detail, PATH)
    # A companion has ports of an EHCI controller's: <master startport=…>. libvirt looks for one
    # controller that is none, whatever its index.
    if usb and all(controller.master_port is not None for controller in usb):
        raise ConfError("xml_detail", "No master USB controller specified", f"{PATH}/master")


def _check_model(controller: Controller) -> None:
    models = CONTROLLER_MODELS.get(controller.type, ())
    if controller.model is not None and controller.model not in models:
        detail = f"Unknown model type '{controller.model}'"
        raise ConfError("config_unsupported", detail, f"{PATH}/@model")
