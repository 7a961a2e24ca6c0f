"""<controller>: what other devices are plugged into.

Source: libvirt 9.0 formatdomain, "Controllers".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.virtio import ControllerDriver
from conf.errors import ConfError
from conf.mapper import attribute, child, element, text
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import int_any, int_unsigned, uint, unsigned
from conf.types.size import to_kib

#: The first port of an EHCI controller's that each of its companions has.
COMPANION_PORTS: Final = {"ich9-uhci1": 0, "ich9-uhci2": 2, "ich9-uhci3": 4}
#: QEMU's names of bridges and ports.
MODEL_NAMES = one_of(
    "none", "pci-bridge", "i82801b11-bridge", "ioh3420", "x3130-upstream", "xio3130-downstream",
    "pxb", "pxb-pcie", "pcie-root-port", "spapr-pci-host-bridge", "pcie-pci-bridge",
)  # fmt: skip
MAX_NUMBER: Final = 255
ONE: Final = "Multiple <{}> elements in controller definition not allowed"
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
TYPES = one_of("ide", "fdc", "scsi", "sata", "virtio-serial", "ccid", "usb", "pci", "xenbus", "isa")


@element("target", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class ControllerTarget:
    """<target>: the numbers of a PCI bridge."""

    chassis_nr: int | None = attribute("@chassisNr", read=int_any)
    chassis: int | None = attribute("@chassis", read=int_any)
    port: int | None = attribute("@port", read=int_any, write=lambda v: f"{int(str(v)):#x}")
    bus_nr: int | None = attribute("@busNr", read=int_any)
    index: int | None = attribute("@index", read=int_unsigned)
    hotplug: bool | None = attribute("@hotplug", read=on_off, write=write_on_off)
    node: int | None = text("node", read=unsigned)

    def after_read(self) -> None:
        """Check that the numbers fit into their registers.

        Raises:
            ConfError: "config_unsupported".
        """
        for option, number, low in (
            ("chassisNr", self.chassis_nr, 1), ("chassis", self.chassis, 0), ("port", self.port, 0),
        ):  # fmt: skip
            if number is not None and not low <= number <= MAX_NUMBER:
                detail = (
                    f"PCI controller {option} '{number}' out of range - must be {low}-{MAX_NUMBER}"
                )
                raise ConfError("config_unsupported", detail, f"controller/target/@{option}")


@element("pcihole64")
@dataclass(slots=True, kw_only=True)
class PciHole:
    """<pcihole64>: room for large devices, in KiB."""

    unit: str = attribute("@unit", default="KiB")
    amount: int = text(".", read=unsigned, default=0)

    def after_read(self) -> None:
        """Count in KiB."""
        self.amount, self.unit = to_kib(self.amount, self.unit), "KiB"


@element("controller")
@dataclass(slots=True, kw_only=True)
class Controller:
    """<controller>."""

    type: str = attribute("@type", read=TYPES, default="ide")
    index: int | None = attribute("@index", read=int_unsigned)
    model: str | None = attribute("@model")
    ports: int | None = attribute("@ports", read=int_unsigned)
    vectors: int | None = attribute("@vectors", read=int_unsigned)
    max_grant_frames: int | None = attribute("@maxGrantFrames", read=uint)
    max_event_channels: int | None = attribute("@maxEventChannels", read=uint)
    model_name: str | None = attribute("model/@name", read=MODEL_NAMES, single=ONE.format("model"))
    target_element: ControllerTarget | None = child(
        "target", ControllerTarget, single=ONE.format("target")
    )
    master_port: int | None = attribute("master/@startport", read=uint)
    driver: ControllerDriver | None = child("driver", ControllerDriver)
    pcihole: PciHole | None = child("pcihole64", PciHole, empty_is_absent=True)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    def after_read(self) -> None:
        """Drop what only controllers of other types have; number the parts of a USB 2 controller.

        Source: libvirt 9.0 virDomainControllerDefParseXML.

        Raises:
            ConfError: "config_unsupported": the type has no such model.
        """
        if self.model is not None and self.model not in CONTROLLER_MODELS.get(self.type, ()):
            detail = f"Unknown model type '{self.model}'"
            raise ConfError("config_unsupported", detail, "domain/devices/controller/@model")
        if self.type != "virtio-serial":
            self.ports = self.ports if self.type == "usb" else None
            self.vectors = None
        if self.type != "xenbus":
            self.max_grant_frames = self.max_event_channels = None
        if self.type != "pci":
            self.model_name = self.target_element = self.pcihole = None
        if self.model_name == "none":
            self.model_name = None  # the default is chosen, as without <model>
        if self.type == "usb" and self.master_port is None:
            self.master_port = COMPANION_PORTS.get(self.model or "")

    @property
    def target(self) -> ControllerTarget:
        """The numbers of a PCI bridge; an empty set where there are none."""
        return self.target_element or ControllerTarget()

    @target.setter
    def target(self, numbers: ControllerTarget) -> None:
        self.target_element = numbers

    @property
    def pcihole64(self) -> int | None:
        """Room for large devices in KiB."""
        return self.pcihole.amount if self.pcihole else None


def check_usb_controllers(controllers: Sequence[Controller]) -> None:
    """Refuse USB controllers that cannot be together.

    Raises:
        ConfError: "xml_detail".
    """
    path = "domain/devices/controller"
    usb = [controller for controller in controllers if controller.type == "usb"]
    if len(usb) > 1 and any(controller.model == "none" for controller in usb):
        detail = "Can't add another USB controller: USB is disabled for this domain"
        raise ConfError("xml_detail", detail, path)
    # A companion has ports of an EHCI controller's: <master startport=…>. libvirt looks for one
    # controller that is none, whatever its index.
    if usb and all(controller.master_port is not None for controller in usb):
        raise ConfError("xml_detail", "No master USB controller specified", f"{path}/master")
