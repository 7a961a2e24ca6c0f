"""<controller>: what other devices are plugged into.

Source: libvirt 9.0 formatdomain, "Controllers".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.virtio import ControllerDriver
from conf.mapper import attribute, child, element, text
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import int_unsigned, uint, unsigned
from conf.types.size import to_kib

#: The first port of an EHCI controller's that each of its companions has.
COMPANION_PORTS: Final = {"ich9-uhci1": 0, "ich9-uhci2": 2, "ich9-uhci3": 4}
#: QEMU's names of bridges and ports.
MODEL_NAMES = one_of(
    "none", "pci-bridge", "i82801b11-bridge", "ioh3420", "x3130-upstream", "xio3130-downstream",
    "pxb", "pxb-pcie", "pcie-root-port", "spapr-pci-host-bridge", "pcie-pci-bridge",
)  # fmt: skip
ONE: Final = "Multiple <{}> elements in controller definition not allowed"
TYPES = one_of("ide", "fdc", "scsi", "sata", "virtio-serial", "ccid", "usb", "pci", "xenbus", "isa")


@element("target", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class ControllerTarget:
    """<target>: the numbers of a PCI bridge."""

    chassis_nr: int | None = attribute("@chassisNr", read=int_unsigned)
    chassis: int | None = attribute("@chassis", read=int_unsigned)
    port: int | None = attribute("@port", read=int_unsigned, write=lambda v: f"{int(str(v)):#x}")
    bus_nr: int | None = attribute("@busNr", read=int_unsigned)
    index: int | None = attribute("@index", read=int_unsigned)
    hotplug: bool | None = attribute("@hotplug", read=on_off, write=write_on_off)
    node: int | None = text("node", read=unsigned)


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
    pcihole: PciHole | None = child("pcihole64", PciHole)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    def after_read(self) -> None:
        """Drop what only controllers of other types have; number the parts of a USB 2 controller.

        Source: libvirt 9.0 virDomainControllerDefParseXML.
        """
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
