"""PCI connection flags of each device, by its model (virDomainDeviceCalculatePCIConnectFlags).

Owns: the tables of which models are PCI Express, conventional PCI, or neither. Pure.
May touch: model names only, not the domain model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.domain.addresses.topology import Connect

USB_EXPRESS: Final = frozenset({"nec-xhci", "qemu-xhci"})
SCSI_VIRTIO: Final = frozenset({"virtio-scsi", "virtio-transitional", "virtio-non-transitional"})
SCSI_CONVENTIONAL: Final = frozenset(
    {
        "buslogic",
        "lsilogic",
        "lsisas1068",
        "vmpvscsi",
        "lsisas1078",
        "ncr53c90",
        "am53c974",
        "dc390",
    }
)
NET_EXPRESS: Final = frozenset({"e1000e", "igb"})
NET_VIRTIO: Final = frozenset({"virtio", "virtio-transitional", "virtio-non-transitional"})
NET_CONVENTIONAL: Final = frozenset(
    {"netfront", "rtl8139", "e1000", "spapr-vlan", "smc91c111", "lan9118", "scm91c111", "vlance",
     "vmxnet", "vmxnet2", "vmxnet3", "Am79C970A", "Am79C973", "82540EM", "82545EM", "82543GC"}
)  # fmt: skip
SOUND_ELSEWHERE: Final = frozenset({"sb16", "pcspk", "usb"})
VIDEO_ELSEWHERE: Final = frozenset({"none", "ramfb", "default"})


@dataclass(frozen=True, slots=True)
class Needs:
    """Connect flags of a machine's devices: PCIe devices go to ports on a PCIe machine."""

    conventional: Connect
    express: Connect
    virtio: Connect

    @classmethod
    def of(cls, root: str) -> Needs:
        """Build the connect flags of a machine with that root bus."""
        conventional = Connect.PCI_DEVICE | Connect.HOTPLUG
        if root != "pcie-root":
            return cls(conventional, conventional, conventional)
        express = Connect.PCIE_DEVICE | Connect.HOTPLUG
        return cls(conventional, express, express)

    def virtio_device(self, model: str | None) -> Connect:
        """Return the flags of a virtio device; a transitional one needs a bus with I/O ports."""
        return self.conventional if model == "virtio-transitional" else self.virtio

    def controller(self, kind: str, model: str | None) -> Connect:
        """Return the flags of a controller other than a PCI one; NONE if it is not on PCI."""
        if kind == "usb":
            if model == "none":
                return Connect.NONE
            return self.express if model in USB_EXPRESS else self.conventional
        if kind == "scsi":
            if model in SCSI_VIRTIO:
                return self.virtio_device(model)
            return self.conventional if model in SCSI_CONVENTIONAL else Connect.NONE
        if kind == "virtio-serial":
            return self.virtio_device(model)
        return self.conventional if kind in ("ide", "sata") else Connect.NONE

    def interface(self, model: str | None) -> Connect:
        """Return the flags of an <interface> by its model."""
        if model in NET_VIRTIO:
            return self.virtio_device(model)
        if model in NET_EXPRESS:
            return self.express
        if model == "usb-net":
            return Connect.NONE
        # A model that libvirt has no name for is taken to be of today's machines.
        return self.conventional if model in NET_CONVENTIONAL else self.express

    def sound(self, model: str) -> Connect:
        """Return the flags of a <sound> device by its model."""
        return Connect.NONE if model in SOUND_ELSEWHERE else self.conventional

    def video(self, model: str) -> Connect:
        """Return the flags of a <video> device by its model."""
        if model in VIDEO_ELSEWHERE:
            return Connect.NONE
        if model == "virtio":
            return self.virtio
        return self.express if model == "bochs" else self.conventional
